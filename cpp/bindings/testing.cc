#include "bindings/bindings.h"

namespace foresight {

void bind_testing(pybind11::module_&) {}

}  // namespace foresight
