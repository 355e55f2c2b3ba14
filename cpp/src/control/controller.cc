#include "control/controller.h"

namespace foresight {

std::vector<Vote> Controller::votes(const BranchesView& view) const {
  std::vector<Vote> finished =
      vote_ == VoteKind::confidence ? view.confidence_votes() : view.finished_votes();
  return finished.empty() ? view.current_votes() : finished;
}

}  // namespace foresight
