// model_test SCENARIO MODE COUNT: says how many executions passed, or prints the first that did
// not and exits with 1.

#include <algorithm>
#include <cstdlib>

#include "model.hpp"

namespace {

int usage() {
  std::fputs(
      "model_test SCENARIO MODE COUNT\n"
      "\n"
      "  MODE   random      schedules drawn at random\n"
      "         random/K    the same from the K-th set of seeds\n"
      "         bound/N     every schedule with at most N preemptions, and every value of a load\n"
      "         sc-bound/N  the same, every atomic operation sequentially consistent\n"
      "  COUNT  executions; 0 with a bound: until they are exhausted\n"
      "\n"
      "scenarios:\n",
      stderr);
  for (const auto& known : model::scenarios()) {
    std::fprintf(stderr, "  %s\n", known.first.c_str());
  }
  return 2;
}

bool starts(std::string& text, std::string_view with) {
  if (text.compare(0, with.size(), with) != 0) return false;
  text.erase(0, with.size());
  return true;
}

}  // namespace

int main(int count, char** words) {
  if (count != 4) return usage();
  const auto found = model::scenarios().find(words[1]);
  if (found == model::scenarios().end()) return usage();
  std::string mode = words[2];
  auto& chosen = model::chosen;
  chosen.limit = std::strtoull(words[3], nullptr, 10);
  if (starts(mode, "random")) {
    chosen.random = true;
    // Relacy takes its generator's parameters from the upper half of a seed.
    if (starts(mode, "/")) chosen.first = (std::strtoull(mode.c_str(), nullptr, 10) << 32) + 1;
    if (chosen.limit == 0) return usage();
  } else {
    chosen.seq_cst = starts(mode, "sc-");
    if (!starts(mode, "bound/")) return usage();
    chosen.bound = static_cast<unsigned>(std::strtoul(mode.c_str(), nullptr, 10));
  }
  std::printf("%s %s: ", words[1], words[2]);
  std::fflush(stdout);
  return found->second() ? 0 : 1;
}
