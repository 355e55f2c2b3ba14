// Python's dict of sampling options as the core's struct.
#pragma once

#include <pybind11/pybind11.h>

#include "sample/sampling_params.h"

namespace foresight {

// Keys are the fields of SamplingParams; None leaves a field at its neutral value. An unknown key
// raises ValueError, a value of the wrong type TypeError, both naming the key. Ranges are checked
// by make_processors.
SamplingParams sampling_params_from(const pybind11::dict& options);

}  // namespace foresight
