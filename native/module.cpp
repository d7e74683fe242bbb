// The Python module outlast.codec._kernels. No I/O and no policy: bytes in, bytes out. The GIL is
// free while a kernel runs.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <string>
#include <vector>

#include "block.hpp"
#include "xxh3.hpp"

namespace nb = nanobind;
using namespace outlast;

namespace {

const Path* const PATHS[] = {&avx512, &avx2, &portable};

const Path* best() {
    for (const Path* path : PATHS)
        if (path->here()) return path;
    return &portable;
}

std::atomic<const Path*> current{best()};

// The bytes of anything with the buffer protocol, for as long as this lives.
class Bytes {
  public:
    Bytes(nb::handle from, bool writable) {
        const int flags = writable ? PyBUF_WRITABLE : PyBUF_SIMPLE;
        if (PyObject_GetBuffer(from.ptr(), &view_, flags)) nb::raise_python_error();
    }
    ~Bytes() { PyBuffer_Release(&view_); }
    Bytes(const Bytes&) = delete;
    Bytes& operator=(const Bytes&) = delete;
    u8* data() const { return static_cast<u8*>(view_.buf); }
    std::size_t size() const { return static_cast<std::size_t>(view_.len); }

  private:
    Py_buffer view_;
};

constexpr std::size_t HASH_LEAF = 1 << 14;

Source source(u32 kind, const Bytes& data, const u8* base) {
    if (kind > 255) throw std::invalid_argument("an unknown kind of block");
    const Kind known = static_cast<Kind>(kind);
    const Layout& shape = layout(known);
    if (!data.size() || data.size() % shape.element)
        throw std::invalid_argument("not a whole number of elements");
    if (data.size() / shape.element > shape.per_block)
        throw std::invalid_argument("more elements than a block has");
    return {known, data.data(), base, data.size() / shape.element};
}

template <typename Do>
auto with_base(nb::handle base, std::size_t size, Do run) {
    if (base.is_none()) return run(nullptr);
    const Bytes bytes(base, false);
    if (bytes.size() != size) throw std::invalid_argument("the base has another size");
    return run(bytes.data());
}

// A block that does not come back as it was is a fault of ours, or of the machine.
void compare(Workspace& space, const Source& block, const Encoded& encoded, const u8* payload) {
    const std::size_t size = block.count * layout(block.kind).element;
    u8* again = reserve(space.again, size);
    decode_block(*current, space, encoded.tag, payload, encoded.length, block, again);
    if (std::memcmp(again, block.data, size))
        throw std::runtime_error("a block was not encoded as it is: memory or the codec fails");
}

nb::tuple encode(Workspace& space, u32 kind, nb::handle data, nb::handle base, nb::handle out,
                 bool check) {
    const Bytes from(data, false), to(out, true);
    if (to.size() < from.size()) throw std::invalid_argument("the output is too small");
    const Encoded encoded = with_base(base, from.size(), [&](const u8* base_data) {
        const Source block = source(kind, from, base_data);
        nb::gil_scoped_release free;
        const Encoded made = encode_block(*current, space, block, to.data());
        if (check) compare(space, block, made, to.data());
        return made;
    });
    return nb::make_tuple(static_cast<u32>(encoded.tag), encoded.length);
}

void decode(Workspace& space, u32 kind, u32 tag, nb::handle payload, nb::handle base,
            nb::handle out) {
    const Bytes from(payload, false), to(out, true);
    if (tag > static_cast<u32>(Tag::leaves)) throw Damaged("an unknown form of a block");
    with_base(base, to.size(), [&](const u8* base_data) {
        const Source block = source(kind, to, base_data);
        nb::gil_scoped_release free;
        decode_block(*current, space, static_cast<Tag>(tag), from.data(), from.size(), block,
                     to.data());
        return 0;
    });
}

u64 checksum(nb::handle data) {
    const Bytes from(data, false);
    nb::gil_scoped_release free;
    return xxh3(*current, from.data(), from.size());
}

void leaf_hashes(nb::handle data, nb::handle out) {
    const Bytes from(data, false), to(out, true);
    const std::size_t leaves = from.size() / HASH_LEAF;
    if (from.size() % HASH_LEAF) throw std::invalid_argument("not a whole number of leaves");
    if (to.size() < 32 * leaves) throw std::invalid_argument("the output is too small");
    nb::gil_scoped_release free;
    (*current).sha256_many(from.data(), HASH_LEAF, leaves, to.data());
}

// The root of a tree over a power of two of hashes of 32 bytes.
void fold(nb::handle hashes, nb::handle out) {
    const Bytes from(hashes, false), to(out, true);
    std::size_t count = from.size() / 32;
    if (!count || from.size() % 32 || (count & (count - 1)))
        throw std::invalid_argument("not a power of two of hashes");
    if (to.size() < 32) throw std::invalid_argument("the output is too small");
    nb::gil_scoped_release free;
    std::vector<u8> layer(from.data(), from.data() + from.size()), above(from.size());
    for (; count > 1; count /= 2) {
        (*current).sha256_many(layer.data(), 64, count / 2, above.data());
        layer.swap(above);
    }
    std::memcpy(to.data(), layer.data(), 32);
}

// The buffers of a list, for as long as this lives.
class Blocks {
  public:
    Blocks(const nb::list& from, bool writable) {
        if (from.size() > MOST) throw std::invalid_argument("more blocks than a codeword has");
        for (nb::handle block : from) data_.push_back(held_.emplace_back(block, writable).data());
    }
    u8* const* data() const { return data_.data(); }
    std::size_t count() const { return data_.size(); }
    bool all_have(std::size_t length) const {
        return std::all_of(held_.begin(), held_.end(),
                           [&](const Bytes& block) { return block.size() == length; });
    }

  private:
    static constexpr std::size_t MOST = 256;
    std::deque<Bytes> held_;
    std::vector<u8*> data_;
};

void combine(nb::handle factors, const nb::list& sources, const nb::list& targets) {
    const Bytes matrix(factors, false);
    const Blocks from(sources, false), to(targets, true);
    if (matrix.size() != from.count() * to.count())
        throw std::invalid_argument("not one factor for each source of each target");
    if (!matrix.size()) return;
    const std::size_t length = Bytes(sources[0], false).size();
    if (!from.all_have(length) || !to.all_have(length))
        throw std::invalid_argument("the blocks are not of one length");
    nb::gil_scoped_release free;
    (*current).combine({matrix.data(), from.data(), from.count(), to.data(), to.count(), length});
}

std::vector<std::string> paths() {
    std::vector<std::string> names;
    for (const Path* path : PATHS)
        if (path->here()) names.emplace_back(path->name);
    return names;
}

std::string use(const std::string& name) {
    const std::string before = current.load()->name;
    for (const Path* path : PATHS)
        if (name == path->name && path->here()) {
            current = path;
            return before;
        }
    throw std::invalid_argument("this processor has no path of that name");
}

nb::tuple shape(u32 kind) {
    const Layout& found = layout(static_cast<Kind>(kind));
    return nb::make_tuple(found.element, found.per_block);
}

}  // namespace

NB_MODULE(_kernels, module) {
    nb::exception<Damaged>(module, "DamagedError", PyExc_ValueError);
    nb::class_<Workspace>(module, "Workspace").def(nb::init<>());
    module.def("paths", paths);
    module.def("use", use, nb::arg("path"));
    module.def("shape", shape, nb::arg("kind"));
    module.def("encode_block", encode, nb::arg("space"), nb::arg("kind"), nb::arg("data"),
               nb::arg("base").none(), nb::arg("out"), nb::arg("check") = false);
    module.def("decode_block", decode, nb::arg("space"), nb::arg("kind"), nb::arg("tag"),
               nb::arg("payload"), nb::arg("base").none(), nb::arg("out"));
    module.def("xxh3", checksum, nb::arg("data"));
    module.def("leaf_hashes", leaf_hashes, nb::arg("data"), nb::arg("out"));
    module.def("fold", fold, nb::arg("hashes"), nb::arg("out"));
    module.def("combine", combine, nb::arg("factors"), nb::arg("sources"), nb::arg("targets"));
}
