// Recorded branches, and their replay.
#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/python_controller.h"
#include "control/replay.h"
#include "core/error.h"

namespace py = pybind11;

namespace foresight {

namespace {

using Text = std::optional<std::string>;

AnswerId id_of(AnswerBook& book, const Text& text) {
  return text.has_value() ? book.id_of(*text) : kNoAnswer;
}

void add_branch(RecordedQuestion& question, std::int64_t num_tokens, const Text& answer,
                const std::vector<std::int64_t>& probe_tokens,
                const std::vector<Text>& probe_answers,
                const std::vector<std::pair<std::int64_t, double>>& confidences, bool finished) {
  if (probe_tokens.size() != probe_answers.size()) {
    throw ValueError(concat(question.label, ": ", probe_tokens.size(), " probes with ",
                            probe_answers.size(), " answers"));
  }
  RecordedBranch branch;
  branch.num_tokens = num_tokens;
  branch.is_finished = finished;
  for (std::size_t i = 0; i < probe_tokens.size(); ++i)
    branch.probes.push_back({probe_tokens[i], id_of(question.answers, probe_answers[i])});
  for (const auto& [tokens, value] : confidences) branch.confidences.push_back({tokens, value});
  branch.answer = id_of(question.answers, answer);
  question.add(std::move(branch));
}

py::dict replay_from_python(RecordedQuestion& question,
                            const std::vector<std::vector<std::int32_t>>& orders,
                            const py::object& controller, std::int64_t probe_cost,
                            int num_threads) {
  std::vector<std::shared_ptr<Controller>> controllers;
  for (std::size_t i = 0; i < orders.size(); ++i)
    controllers.push_back(controller_from(controller, question.answers));
  if (calls_python(controller)) num_threads = 1;
  std::vector<ReplayDraw> draws;
  std::vector<std::optional<AnswerId>> full;
  {
    const py::gil_scoped_release no_gil;
    draws = replay_draws(question, orders, controllers, probe_cost, num_threads);
    for (const auto& order : orders) full.push_back(full_vote(question, order));
  }
  const auto text = [&](AnswerId answer) {
    return answer == kNoAnswer ? Text() : Text(question.answers.text(answer));
  };
  const auto size = static_cast<py::ssize_t>(draws.size());
  std::vector<Text> answers;
  std::vector<std::optional<bool>> same;
  std::vector<std::int64_t> sequential, total, probes;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    answers.push_back(text(draws[i].answer));
    same.push_back(full[i] ? std::optional(*full[i] == draws[i].answer) : std::nullopt);
    sequential.push_back(draws[i].sequential_tokens);
    total.push_back(draws[i].total_tokens);
    probes.push_back(draws[i].probes);
  }
  py::dict result;
  result["answers"] = answers;
  result["same_as_full_vote"] = same;
  result["sequential_tokens"] = to_array(std::move(sequential), {size});
  result["total_tokens"] = to_array(std::move(total), {size});
  result["probes"] = to_array(std::move(probes), {size});
  return result;
}

}  // namespace

void bind_control(py::module_& m) {
  bind_python_controller(m);
  py::class_<RecordedQuestion>(m, "RecordedQuestion", py::is_final())
      .def(py::init([](std::string label, std::int64_t probe_grid, std::int64_t confidence_group) {
             RecordedQuestion question;
             question.label = std::move(label);
             question.probe_grid = probe_grid;
             question.confidence_group = confidence_group;
             question.check();
             return question;
           }),
           py::arg("label"), py::kw_only(), py::arg("probe_grid") = 0,
           py::arg("confidence_group") = 0)
      .def("add", &add_branch, py::kw_only(), py::arg("num_tokens"), py::arg("answer"),
           py::arg("probe_tokens") = py::tuple(), py::arg("probe_answers") = py::tuple(),
           py::arg("confidences") = py::tuple(), py::arg("finished") = true)
      .def("__len__", [](const RecordedQuestion& question) { return question.branches.size(); });
  m.def(
      "controller_needs",
      [](const py::object& controller) {
        AnswerBook book;
        const Needs needs = controller_from(controller, book)->all_needs();
        py::dict fields;
        fields["interval"] = needs.interval;
        fields["probe_interval"] = needs.probe_interval;
        fields["confidence"] = needs.confidence;
        fields["cache_bytes"] = needs.cache_bytes;
        return fields;
      },
      py::arg("controller"));
  m.def("replay", &replay_from_python, py::arg("question"), py::arg("orders"),
        py::arg("controller"), py::kw_only(), py::arg("probe_cost") = 0,
        py::arg("num_threads") = 0);
}

}  // namespace foresight
