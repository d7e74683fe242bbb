// XXH3, 64 bits, seed 0 (the xxHash specification 0.2.0).
#pragma once
#include "path.hpp"

namespace outlast {
u64 xxh3(const Path& path, const u8* data, std::size_t length);
}
