#include "control/controllers.h"

#include <algorithm>

#include "core/error.h"

namespace foresight {

namespace {

struct Entry {
  const char* name;
  ControllerMaker* make;
  std::vector<std::string> options;
};

// The one registration line of a controller, with the options it takes.
const std::vector<Entry>& entries() {
  static const std::vector<Entry> table = {
      {"parallel_probe",
       make_parallel_probe,
       {"width", "interval", "stable", "patience", "warmup"}},
      {"self_consistency", make_self_consistency, {"width"}},
  };
  return table;
}

}  // namespace

std::vector<std::string> controller_names() {
  std::vector<std::string> names;
  for (const Entry& entry : entries()) names.emplace_back(entry.name);
  return names;
}

std::unique_ptr<Controller> make_controller(const std::string& name, const Options& options) {
  std::string known;
  for (const Entry& entry : entries()) {
    if (name != entry.name) {
      known += concat(known.empty() ? "" : ", ", entry.name);
      continue;
    }
    for (const auto& [option, value] : options) {
      if (std::find(entry.options.begin(), entry.options.end(), option) == entry.options.end())
        throw ValueError(concat("controller '", name, "' has no option '", option, "'"));
    }
    return entry.make(options);
  }
  throw ValueError(concat("controller '", name, "' is not known; known are ", known));
}

}  // namespace foresight
