// All controllers by name. A new one is one file here, one maker and one line of the table.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "control/controller.h"
#include "core/options.h"

namespace foresight {

using ControllerMaker = std::unique_ptr<Controller>(const Options& options);

ControllerMaker make_parallel_probe;
ControllerMaker make_self_consistency;

// Throws ValueError naming the known controllers, or an option that the controller does not have.
std::unique_ptr<Controller> make_controller(const std::string& name, const Options& options);
std::vector<std::string> controller_names();

}  // namespace foresight
