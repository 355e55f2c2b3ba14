#include "bindings/branch_control.h"

#include <pybind11/stl.h>

#include <utility>

#include "bindings/gil_object.h"
#include "bindings/python_controller.h"
#include "core/error.h"

namespace py = pybind11;

namespace foresight {

namespace {

class PythonAnswerReader final : public AnswerReader {
 public:
  explicit PythonAnswerReader(py::object function) : function_(std::move(function)) {}

  std::optional<std::string> read(std::span<const Token> tokens,
                                  const std::string& where) override {
    const py::gil_scoped_acquire gil;
    const py::object answer =
        function_.get()(py::cast(std::vector<Token>(tokens.begin(), tokens.end())), where);
    return answer.cast<std::optional<std::string>>();
  }

 private:
  GilObject function_;
};

// A controller whose book lives as long as it does.
struct Booked {
  AnswerBook book;
  std::shared_ptr<Controller> controller;
};

EventOrder order_from(const std::string& name) {
  if (name == "virtual") return EventOrder::virtual_time;
  if (name == "arrival") return EventOrder::arrival;
  throw ValueError(concat("order '", name, "' is not one of virtual, arrival"));
}

py::object text_of(const AnswerBook& book, AnswerId answer) {
  return answer == kNoAnswer ? py::object(py::none()) : py::object(py::str(book.text(answer)));
}

}  // namespace

ControlSpec control_spec_from(const py::dict& fields) {
  const auto booked = std::make_shared<Booked>();
  booked->controller = controller_from(fields["controller"], booked->book);
  ControlSpec spec;
  spec.name = fields["name"].cast<std::string>();
  spec.controller = std::shared_ptr<Controller>(booked, booked->controller.get());
  spec.book = std::shared_ptr<AnswerBook>(booked, &booked->book);
  spec.answers = std::make_shared<PythonAnswerReader>(fields["read_answer"]);
  spec.probe_suffix = fields["probe_suffix"].cast<std::optional<std::vector<Token>>>();
  spec.max_probe_tokens = fields["max_probe_tokens"].cast<std::int64_t>();
  spec.order = order_from(fields["order"].cast<std::string>());
  return spec;
}

py::list branches_of(const BranchControl& control) {
  py::list branches;
  for (const BranchRecord& record : control.records()) {
    py::list probes;
    for (const ProbeReading& reading : record.probes)
      probes.append(py::make_tuple(reading.num_tokens, text_of(control.book(), reading.answer)));
    const Branch& branch = control.branch(static_cast<std::int32_t>(branches.size()));
    py::dict fields;
    fields["status"] = name_of(record.status);
    fields["reason"] = record.is_finished() ? std::string(name_of(branch.stop)) : record.reason;
    fields["answer"] = text_of(control.book(), record.answer);
    fields["probes"] = probes;
    fields["confidence"] = record.confidence;
    fields["start"] = record.start;
    fields["inherited"] = record.inherited;
    fields["num_tokens"] = record.is_running() ? branch.num_new_tokens() : record.num_tokens;
    branches.append(fields);
  }
  return branches;
}

py::dict outcome_of(const BranchControl& control) {
  const Outcome& outcome = control.outcome();
  py::list votes;
  for (const Vote& vote : outcome.votes)
    votes.append(py::make_tuple(text_of(control.book(), vote.answer), vote.weight));
  py::dict fields;
  fields["answer"] = text_of(control.book(), outcome.answer);
  fields["winner"] = outcome.winner;
  fields["votes"] = votes;
  fields["clock"] = outcome.clock;
  fields["reason"] = outcome.reason;
  fields["early_events"] = control.num_early_events();
  return fields;
}

}  // namespace foresight
