#include "bindings/python_drafter.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "bindings/gil_object.h"
#include "core/error.h"

namespace py = pybind11;

namespace foresight {

namespace {

constexpr double kSumTolerance = 1e-3;

class PythonDrafter final : public Drafter {
 public:
  PythonDrafter(py::object propose, std::int64_t vocab_size)
      : propose_(std::move(propose)), vocab_size_(vocab_size) {}

  void propose(std::span<DraftTask> tasks) override {
    const py::gil_scoped_acquire gil;
    for (DraftTask& task : tasks) {
      const py::object answer =
          propose_.get()(std::vector<Token>(task.tokens.begin(), task.tokens.end()));
      if (!answer.is_none()) read(answer, task);
    }
  }

 private:
  void read(const py::object& answer, DraftTask& task) const {
    const bool has_probabilities = py::isinstance<py::tuple>(answer) && py::len(answer) == 2 &&
                                   PyIndex_Check(py::object(answer[py::int_(0)]).ptr()) == 0;
    const py::object ids = has_probabilities ? py::object(answer[py::int_(0)]) : answer;
    std::vector<Token> tokens;
    for (const py::handle id : ids) tokens.push_back(token_from(id));
    std::vector<KeptDistribution> rows(tokens.size());
    if (has_probabilities && task.do_sample) rows = distributions(answer[py::int_(1)], tokens);
    const auto count = std::min<std::int64_t>(std::ssize(tokens), task.shape.depth);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      task.nodes.push_back({.token = tokens[at],
                            .parent = static_cast<std::int32_t>(i) - 1,
                            .drawn_from = std::move(rows[at])});
    }
  }

  Token token_from(py::handle id) const {
    // Raises TypeError for floats and what is no number.
    const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(id.ptr()));
    if (!number) throw py::error_already_set();
    int overflow = 0;
    const long long token = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
    if (overflow != 0 || token < 0 || token >= vocab_size_) {
      throw ValueError(concat("the drafter proposed token id ", py::str(number).cast<std::string>(),
                              ", but the target's ids go from 0 to ", vocab_size_ - 1));
    }
    return static_cast<Token>(token);
  }

  std::vector<KeptDistribution> distributions(const py::object& given,
                                              const std::vector<Token>& tokens) const {
    const auto array = py::array_t<float, py::array::c_style | py::array::forcecast>::ensure(given);
    if (!array) {
      PyErr_Clear();
      throw ValueError("the drafter's probabilities are no array");
    }
    if (array.ndim() != 2 || array.shape(0) != std::ssize(tokens) ||
        array.shape(1) != vocab_size_) {
      throw ValueError(concat("the drafter's probabilities must have the shape [", tokens.size(),
                              ", ", vocab_size_,
                              "]: one row over the target's vocabulary for each id"));
    }
    std::vector<KeptDistribution> rows;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const float* from = array.data(static_cast<py::ssize_t>(i), 0);
      auto row = std::make_shared<std::vector<float>>(from, from + vocab_size_);
      double sum = 0.0;
      bool good = true;
      for (const float weight : *row) {
        good = good && weight >= 0.0f && std::isfinite(weight);
        sum += static_cast<double>(weight);
      }
      if (!good || std::abs(sum - 1.0) > kSumTolerance) {
        throw ValueError(concat("row ", i, " of the drafter's probabilities sums to ", sum,
                                " with ", good ? "no" : "a",
                                " negative or infinite entry, but must be a distribution"));
      }
      if ((*row)[static_cast<std::size_t>(tokens[i])] <= 0.0f) {
        throw ValueError(concat("the drafter proposed token id ", tokens[i],
                                " with probability 0: it cannot have drawn it"));
      }
      rows.push_back(std::move(row));
    }
    return rows;
  }

  GilObject propose_;
  std::int64_t vocab_size_;
};

}  // namespace

std::shared_ptr<Drafter> make_python_drafter(py::object propose, std::int64_t vocab_size) {
  return std::make_shared<PythonDrafter>(std::move(propose), vocab_size);
}

}  // namespace foresight
