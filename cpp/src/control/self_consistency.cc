// Self-consistency: all branches run to their end, the majority answers (Wang et al., 2203.11171).
#include "control/controllers.h"
#include "control/option_checks.h"

namespace foresight {

namespace {

class SelfConsistency final : public Controller {
 public:
  explicit SelfConsistency(const Options& options) : width_(count_option(options, "width")) {}

  void on_start(const BranchesView&, Actions& actions) override { actions.start(width_); }

 private:
  std::int64_t width_;
};

}  // namespace

std::unique_ptr<Controller> make_self_consistency(const Options& options) {
  return std::make_unique<SelfConsistency>(options);
}

}  // namespace foresight
