#include "engine/driver.h"

#include <chrono>
#include <mutex>
#include <thread>

namespace foresight {

StepOutcome Driver::step(const std::vector<Branch*>& branches, std::vector<StepEvent>& events,
                         FunctionRef<void()> poll) {
  live_.clear();
  for (Branch* branch : branches) {
    if (!branch->finished()) live_.push_back(branch);
  }
  while (!live_.empty()) {
    poll();
    {
      const std::lock_guard guard(engine_.step_mutex());
      const StepOutcome outcome = step_.run(live_, events);
      if (outcome.progressed) return outcome;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {};
}

}  // namespace foresight
