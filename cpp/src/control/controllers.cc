#include "control/controllers.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace foresight {

namespace {

struct Entry {
  const char* name;
  ControllerMaker* make;  // null for a wrapper
  WrapperMaker* wrap;     // null for all others
  std::vector<std::string> options;
};

// The one registration line of a controller, with the options it takes.
const std::vector<Entry>& entries() {
  static const std::vector<Entry> table = {
      {"adaptive_consistency", make_adaptive_consistency, nullptr, {"width", "confidence"}},
      {"beta_stop", make_beta_stop, nullptr, {"width", "confidence", "min_finished"}},
      {"deep_conf", make_deep_conf, nullptr, {"width", "warmup", "keep", "group", "consensus"}},
      {"early_stopping_consistency", make_early_stopping_consistency, nullptr, {"width", "window"}},
      {"likely_lead",
       make_likely_lead,
       nullptr,
       {"width", "confidence", "caution", "min_finished"}},
      {"lossless_lead", make_lossless_lead, nullptr, {"width"}},
      {"memory_prune", nullptr, make_memory_prune, {"kv_cache_bytes"}},
      {"parallel_probe",
       make_parallel_probe,
       nullptr,
       {"width", "interval", "stable", "patience", "warmup"}},
      {"self_consistency", make_self_consistency, nullptr, {"width"}},
      {"shortest_first", make_shortest_first, nullptr, {"width", "count"}},
      {"threshold_stop",
       make_threshold_stop,
       nullptr,
       {"signal", "interval", "window", "group", "smoothing", "warmup", "upper", "gives_up", "base",
        "slope", "shift", "budget"}},
      {"waves", make_waves, nullptr, {"sizes", "fraction", "confidence"}},
  };
  return table;
}

void check_options(const Entry& entry, const Options& options) {
  for (const auto& [option, value] : options) {
    if (std::find(entry.options.begin(), entry.options.end(), option) == entry.options.end())
      throw ValueError(concat("controller '", entry.name, "' has no option '", option, "'"));
  }
}

}  // namespace

std::vector<std::string> controller_names() {
  std::vector<std::string> names;
  for (const Entry& entry : entries()) names.emplace_back(entry.name);
  return names;
}

std::unique_ptr<Controller> make_controller(const std::string& name, const Options& options,
                                            std::shared_ptr<Controller> inner) {
  std::string known;
  for (const Entry& entry : entries()) {
    if (name != entry.name) {
      known += concat(known.empty() ? "" : ", ", entry.name);
      continue;
    }
    check_options(entry, options);
    if ((entry.wrap != nullptr) != (inner != nullptr)) {
      throw ValueError(concat("controller '", name, "' ",
                              inner ? "takes no inner controller" : "needs an inner controller"));
    }
    return inner ? entry.wrap(options, std::move(inner)) : entry.make(options);
  }
  throw ValueError(concat("controller '", name, "' is not known; known are ", known));
}

}  // namespace foresight
