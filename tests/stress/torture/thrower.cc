// Exceptions that pass through frames which allocate, and objects that free on the way out.
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace {
struct Holder {
  explicit Holder(int n) : block(new char[static_cast<unsigned>(n) + 1]) { block[0] = 1; }
  ~Holder() { delete[] block; }
  Holder(const Holder &) = delete;
  Holder &operator=(const Holder &) = delete;
  char *block;
};

__attribute__((noinline)) int fall(int depth) {
  const Holder held(depth * 3);
  const std::vector<std::string> words(2, std::string(40, 'x'));
  if (depth == 0) throw std::runtime_error(std::string(60, 'e'));
  return fall(depth - 1) + held.block[0] + static_cast<int>(words.size());
}
}  // namespace

extern "C" int throw_and_catch(int depth) {
  try {
    return fall(depth) - 1000000;
  } catch (const std::runtime_error &error) {
    return error.what()[0] == 'e' && error.what()[59] == 'e';
  }
}
