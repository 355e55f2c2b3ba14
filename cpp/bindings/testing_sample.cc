// foresight._core.testing: the chain of processors and the draw, one row at a time.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/sampling_params.h"
#include "core/error.h"
#include "ops/cpu_kernels.h"
#include "sample/processors.h"
#include "sample/readouts.h"

namespace foresight {
namespace {

namespace py = pybind11;

using Scores = py::array_t<float, py::array::c_style>;

// The kernels of one instruction set (None: the one a model would use), without threads.
CpuContext context_for(const std::optional<std::string>& isa) {
  static const KernelRegistry kernels = [] {
    KernelRegistry registry;
    ops::register_cpu_kernels(registry);
    return registry;
  }();
  // Asking the processor what it can do takes long enough to count in tests of many draws.
  static const std::vector<Isa> supported = supported_isas();
  static const Isa usual = default_isa();
  CpuContext context;
  context.kernels = &kernels;
  context.isa = isa ? isa_from_name(*isa) : usual;
  if (std::find(supported.begin(), supported.end(), context.isa) == supported.end()) {
    throw ValueError(concat("isa is '", name_of(context.isa), "', which cannot run here"));
  }
  return context;
}

std::span<const float> row_of(const Scores& scores) {
  if (scores.ndim() != 1 || scores.size() == 0) {
    throw ValueError(concat("scores has ", scores.ndim(), " dimensions and ", scores.size(),
                            " elements, but must be one row of a vocabulary"));
  }
  return {scores.data(), static_cast<std::size_t>(scores.size())};
}

Scores process_scores(const py::dict& params, const std::vector<Token>& tokens,
                      std::int64_t prompt_length, const Scores& scores,
                      const std::optional<std::string>& isa) {
  const auto row = row_of(scores);
  if (prompt_length < 0 || prompt_length > static_cast<std::int64_t>(tokens.size())) {
    throw ValueError(concat("prompt_length is ", prompt_length, ", but must be from 0 to ",
                            tokens.size(), ", the number of tokens"));
  }
  const ProcessorList chain = make_processors(context_for(isa), sampling_params_from(params),
                                              static_cast<std::int64_t>(row.size()), {});
  Scores processed(scores.size());
  const std::span<float> out(processed.mutable_data(), row.size());
  std::copy(row.begin(), row.end(), out.begin());
  apply(chain, {tokens, prompt_length}, out);
  return processed;
}

}  // namespace

void bind_testing_sample(py::module_& m) {
  m.def("process_scores", &process_scores, py::arg("params"), py::arg("tokens"),
        py::arg("prompt_length"), py::arg("scores").noconvert(), py::arg("isa") = py::none(),
        "A copy of one row of scores [vocab] after the request's chain of processors.");
  m.def(
      "sample_token",
      [](const Scores& scores, double uniform, const std::optional<std::string>& isa) {
        if (!(uniform >= 0.0 && uniform < 1.0)) {
          throw ValueError(concat("uniform is ", uniform, ", but must be in [0, 1)"));
        }
        return sample_token(context_for(isa), row_of(scores), uniform);
      },
      py::arg("scores").noconvert(), py::arg("uniform"), py::arg("isa") = py::none(),
      "The token whose interval of the cumulated softmax of scores [vocab] holds uniform.");
}

}  // namespace foresight
