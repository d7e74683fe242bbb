# The kernels' sources, and what each path's is compiled with.
set(kernels block.cpp plane.cpp tables.cpp xxh3.cpp path_portable.cpp path_avx2.cpp path_avx512.cpp)
list(TRANSFORM kernels PREPEND "${CMAKE_CURRENT_LIST_DIR}/")

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties("${CMAKE_CURRENT_LIST_DIR}/path_avx2.cpp" PROPERTIES
    COMPILE_OPTIONS "-mavx2;-mbmi2;-mpopcnt;-msha")
  set_source_files_properties("${CMAKE_CURRENT_LIST_DIR}/path_avx512.cpp" PROPERTIES COMPILE_OPTIONS
    "-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vbmi;-mavx512vbmi2;-mgfni;-mbmi2;-mpopcnt;-mprefer-vector-width=512;-Wno-uninitialized;-Wno-maybe-uninitialized")
endif()
