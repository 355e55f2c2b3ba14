// Python's config dict and tensor table as the core's structs.
#pragma once

#include <pybind11/pybind11.h>

#include "model/config.h"
#include "model/heads/head_config.h"
#include "model/weights.h"

namespace foresight {

// Raises ValueError naming a field that is missing, TypeError one of the wrong type.
ModelConfig model_config_from(const pybind11::dict& fields);

// Of a draft head; `model` is a dict for model_config_from.
HeadConfig head_config_from(const pybind11::dict& fields);

// name -> (bytes uint8 [nbytes], dtype name, shape). The views borrow the arrays: keep them alive.
// Raises ValueError naming the tensor whose bytes do not match its shape and dtype.
Weights weights_from(const pybind11::dict& tensors);

}  // namespace foresight
