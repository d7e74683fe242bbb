// Replays inputs without a fuzzer: replay FOLDER MUTATIONS. Every file goes through decoding and
// encoding as it is, then MUTATIONS of them in all, which are the same at every run.
#include <filesystem>
#include <fstream>
#include <iterator>

#include "input.hpp"

using namespace outlast;

namespace {

using Input = std::vector<u8>;

std::vector<Input> read_all(const char* folder) {
    std::vector<std::filesystem::path> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        names.push_back(entry.path());
    std::sort(names.begin(), names.end());
    std::vector<Input> made;
    for (const auto& name : names) {
        std::ifstream file(name, std::ios::binary);
        made.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    return made;
}

u32 next(u32& state) {
    state = state * 1664525 + 1013904223;
    return state >> 8;
}

// A few bytes changed, most of them near the beginning, where the tables and states are; the end
// cut off; or a run of zeros, as states of 0 take a word each at every step.
void mutate(Input& input, u32& state) {
    if (next(state) % 8 == 0) input.resize(input.size() - next(state) % (input.size() / 2 + 1));
    if (next(state) % 8 == 0 && !input.empty()) {
        const std::size_t at = next(state) % input.size(), left = input.size() - at;
        std::memset(input.data() + at, 0, std::min<std::size_t>(left, 400));
    }
    for (u32 left = next(state) % 4 + 1; left && !input.empty(); left--) {
        std::size_t at = next(state) % input.size();
        if (next(state) % 2) at %= 64;
        u8& byte = input[at];
        switch (next(state) % 4) {
            case 0: byte = static_cast<u8>(next(state)); break;
            case 1: byte ^= static_cast<u8>(1 << next(state) % 8); break;
            case 2: byte = next(state) % 2 ? 0 : 255; break;
            default: byte = static_cast<u8>(byte + next(state) % 5 - 2); break;
        }
    }
}

void both(const Input& input) {
    fuzz::decode_one(input.data(), input.size());
    fuzz::roundtrip_one(input.data(), input.size());
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 3) return 2;
    const std::vector<Input> inputs = read_all(arguments[1]);
    if (inputs.empty()) return 2;
    for (const Input& input : inputs) both(input);
    u32 state = 1;
    const u32 mutations = static_cast<u32>(std::atoi(arguments[2]));
    for (u32 i = 0; i < mutations; i++) {
        Input input = inputs[i % inputs.size()];
        mutate(input, state);
        fuzz::decode_one(input.data(), input.size());
        if (i % 8 == 0) fuzz::roundtrip_one(input.data(), input.size());
    }
    std::printf("%zu inputs, %u mutations\n", inputs.size(), mutations);
}
