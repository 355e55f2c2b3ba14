// All controllers by name. A new one is one file here, one maker and one line of the table.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "control/controller.h"
#include "core/options.h"

namespace foresight {

using ControllerMaker = std::unique_ptr<Controller>(const Options& options);
// Of a controller that stands around another one.
using WrapperMaker = std::unique_ptr<Controller>(const Options& options,
                                                 std::shared_ptr<Controller> inner);

ControllerMaker make_adaptive_consistency;
ControllerMaker make_beta_stop;
ControllerMaker make_deep_conf;
ControllerMaker make_early_stopping_consistency;
ControllerMaker make_likely_lead;
ControllerMaker make_lossless_lead;
ControllerMaker make_parallel_probe;
ControllerMaker make_self_consistency;
ControllerMaker make_shortest_first;
ControllerMaker make_threshold_stop;
ControllerMaker make_waves;
WrapperMaker make_memory_prune;

// inner: what a wrapper stands around, null for all others. Throws ValueError naming the known
// controllers, an option that the controller does not have, or an inner one too many or missing.
std::unique_ptr<Controller> make_controller(const std::string& name, const Options& options,
                                            std::shared_ptr<Controller> inner = nullptr);
std::vector<std::string> controller_names();

}  // namespace foresight
