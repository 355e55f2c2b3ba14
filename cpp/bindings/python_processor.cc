#include "bindings/python_processor.h"

#include <pybind11/numpy.h>

#include <algorithm>
#include <utility>

#include "bindings/gil_object.h"
#include "core/error.h"

namespace py = pybind11;

namespace foresight {

namespace {

class PythonProcessor final : public LogitsProcessor {
 public:
  explicit PythonProcessor(py::object function) : function_(std::move(function)) {}

  bool thread_safe() const override { return false; }

  void apply(const ScoreContext& context, std::span<float> scores) const override {
    const py::gil_scoped_acquire gil;
    const auto vocab = static_cast<py::ssize_t>(scores.size());
    py::array_t<std::int64_t> ids(
        {py::ssize_t{1}, static_cast<py::ssize_t>(context.tokens.size())});
    std::copy(context.tokens.begin(), context.tokens.end(), ids.mutable_data());
    py::array_t<float> row({py::ssize_t{1}, vocab});
    std::copy(scores.begin(), scores.end(), row.mutable_data());
    const py::object answer = function_.get()(ids, row);
    const auto result =
        py::array_t<float, py::array::c_style | py::array::forcecast>::ensure(answer);
    if (!result) {
      PyErr_Clear();
      throw ValueError("a logits processor must return scores, an array of [1, vocab]");
    }
    if (result.size() != vocab) {
      throw ValueError(
          concat("a logits processor returned ", result.size(), " scores, expected ", vocab));
    }
    std::copy_n(result.data(), scores.size(), scores.begin());
  }

 private:
  GilObject function_;
};

}  // namespace

std::shared_ptr<const LogitsProcessor> make_python_processor(py::object function) {
  return std::make_shared<PythonProcessor>(std::move(function));
}

}  // namespace foresight
