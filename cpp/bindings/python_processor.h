// A user's logits processor: f(ids int64 [1, length], scores float32 [1, vocab]) -> new scores.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "sample/processors.h"

namespace foresight {

// Called on the thread that drives the job, which takes the GIL for it. What the function raises
// ends the step; a result of another size raises ValueError.
std::shared_ptr<const LogitsProcessor> make_python_processor(pybind11::object function);

}  // namespace foresight
