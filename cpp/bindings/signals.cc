#include <chrono>

#include "bindings/bindings.h"

namespace foresight {

void poll_signals() {
  using PollClock = std::chrono::steady_clock;
  constexpr auto kInterval = std::chrono::milliseconds(10);
  thread_local PollClock::time_point last{};
  const auto now = PollClock::now();
  if (now - last < kInterval) return;
  last = now;
  const pybind11::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
}

}  // namespace foresight
