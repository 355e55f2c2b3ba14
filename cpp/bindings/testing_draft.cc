// A drafter on its own: what it is shown, and what it draws guesses from.
#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "core/error.h"
#include "decode/drafter.h"

namespace py = pybind11;

namespace foresight {

namespace {

using States = py::array_t<float, py::array::c_style>;

void observe(Drafter& drafter, std::uint64_t branch, const std::vector<Token>& tokens,
             std::int64_t first_position, const States& hidden) {
  if (hidden.ndim() != 3) throw ValueError("hidden is not [positions, layers, hidden]");
  const TargetStates states{.branch = branch,
                            .tokens = tokens,
                            .first_position = first_position,
                            .num_positions = hidden.shape(0),
                            .hidden = hidden.data()};
  const py::gil_scoped_release no_gil;
  drafter.observe(states);
}

// Per branch: its guesses, and the distributions [guesses, vocab] that they were drawn from.
py::list draw_drafts(Drafter& drafter, const std::vector<std::uint64_t>& branches,
                     const std::vector<std::vector<Token>>& sequences, std::int64_t num_tokens,
                     std::uint64_t seed) {
  if (branches.size() != sequences.size()) throw ValueError("a branch for each sequence");
  const ProcessorList none;
  std::vector<DraftTask> tasks(branches.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    tasks[i].branch = branches[i];
    tasks[i].tokens = sequences[i];
    tasks[i].shape = {.num_tokens = num_tokens, .depth = num_tokens};
    tasks[i].processors = &none;
    tasks[i].do_sample = true;
    tasks[i].key = {.seed = seed, .branch = branches[i]};
  }
  {
    const py::gil_scoped_release no_gil;
    drafter.propose(tasks);
  }
  py::list out;
  for (const DraftTask& task : tasks) {
    std::vector<Token> tokens;
    std::vector<float> weights;
    for (const DraftNode& node : task.nodes) {
      tokens.push_back(node.token);
      weights.insert(weights.end(), node.drawn_from->begin(), node.drawn_from->end());
    }
    const auto rows = static_cast<py::ssize_t>(tokens.size());
    const auto width = rows == 0 ? 0 : static_cast<py::ssize_t>(weights.size()) / rows;
    out.append(py::make_tuple(tokens, to_array(std::move(weights), {rows, width})));
  }
  return out;
}

}  // namespace

void bind_testing_draft(py::module_& m) {
  m.def("observe", &observe, py::arg("drafter"), py::arg("branch"), py::arg("tokens"),
        py::arg("first_position"), py::arg("hidden"));
  m.def("draw_drafts", &draw_drafts, py::arg("drafter"), py::arg("branches"), py::arg("sequences"),
        py::arg("num_tokens"), py::arg("seed") = 0);
}

}  // namespace foresight
