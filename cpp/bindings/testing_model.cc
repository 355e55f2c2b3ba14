// One forward of a model over rows that a test states: no engine, no strategy.
#include <pybind11/stl.h>

#include <numeric>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/config.h"
#include "core/error.h"
#include "model/cpu_runtime.h"
#include "model/families/families.h"
#include "ops/kv_pages.h"

namespace py = pybind11;

namespace foresight {

namespace {

using Ints = std::vector<std::int32_t>;

// A model with a cache of its own, in which every forward starts anew.
class TestModel {
 public:
  TestModel(const py::dict& fields, const py::dict& tensors, const std::string& dtype,
            const std::optional<std::string>& isa)
      : runtime_(2, isa ? std::optional(isa_from_name(*isa)) : std::nullopt),
        model_(make_model(runtime_.context(), model_config_from(fields), weights_from(tensors),
                          dtype_from_name(dtype))) {}

  // Logits of all rows [rows, vocab]. `sequences` holds how many rows each sequence has; ranks and
  // limits are the attention rule's.
  py::array_t<float> forward(const Ints& sequences, const Ints& tokens, const Ints& positions,
                             const Ints& ranks, const Ints& limits, const Ints& adapter) {
    const std::size_t num_rows = tokens.size();
    if (positions.size() != num_rows || ranks.size() != num_rows || limits.size() != num_rows ||
        adapter.size() != num_rows ||
        std::accumulate(sequences.begin(), sequences.end(), std::size_t{0}) != num_rows) {
      throw ValueError("tokens, positions, ranks, limits and adapter must have the same length");
    }
    ForwardBatch batch;
    batch.tokens = tokens;
    batch.positions = positions;
    batch.ranks = ranks;
    batch.limits = limits;
    batch.adapter.assign(adapter.begin(), adapter.end());
    batch.logit_rows.resize(num_rows);
    std::iota(batch.logit_rows.begin(), batch.logit_rows.end(), 0);
    std::vector<Ints> pages;
    std::int32_t num_pages = 0;
    for (const std::int32_t rows : sequences) {
      Ints& own = pages.emplace_back(static_cast<std::size_t>(rows / ops::kPageSlots + 1));
      std::iota(own.begin(), own.end(), num_pages);
      num_pages += static_cast<std::int32_t>(own.size());
    }
    std::int64_t first_row = 0;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      batch.segments.push_back(
          {.pages = pages[i], .first_row = first_row, .num_rows = sequences[i]});
      first_row += sequences[i];
    }
    model_->allocate_pages(num_pages);
    const ForwardResult result = model_->forward(batch);
    const auto vocab = static_cast<std::size_t>(model_->config().vocab_size);
    return to_array(std::vector<float>(result.logits, result.logits + num_rows * vocab),
                    {static_cast<py::ssize_t>(num_rows), static_cast<py::ssize_t>(vocab)});
  }

 private:
  CpuRuntime runtime_;
  std::unique_ptr<ModelPort> model_;
};

}  // namespace

void bind_testing_model(py::module_& m) {
  py::class_<TestModel>(m, "TestModel", py::is_final())
      .def(py::init<const py::dict&, const py::dict&, const std::string&,
                    const std::optional<std::string>&>(),
           py::arg("config"), py::arg("tensors"), py::kw_only(), py::arg("dtype") = "float32",
           py::arg("isa") = py::none())
      .def("forward", &TestModel::forward, py::arg("sequences"), py::arg("tokens"),
           py::arg("positions"), py::arg("ranks"), py::arg("limits"), py::arg("adapter"));
}

}  // namespace foresight
