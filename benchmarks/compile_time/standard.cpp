// What the user would compile without the library: the yardstick for pool.cpp.

#include <functional>
#include <future>
#include <thread>

int main() {
  int answer = 0;
  {
    const std::jthread worker([&answer] { answer = 42; });
  }
  return answer == 42 ? 0 : 1;
}
