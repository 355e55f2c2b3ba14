#include "bindings/python_controller.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/gil_object.h"
#include "control/controllers.h"
#include "core/error.h"

namespace py = pybind11;

namespace foresight {

namespace {

// What Python holds of a view: it may be kept, but not used, beyond the call.
struct Seen {
  const BranchesView* view = nullptr;
  AnswerBook* book = nullptr;

  const BranchesView& get() const {
    if (view == nullptr)
      throw ValueError("a view of branches is valid only during the call that it was given to");
    return *view;
  }
  py::object text(AnswerId answer) const {
    return answer == kNoAnswer ? py::object(py::none()) : py::object(py::str(book->text(answer)));
  }
  py::dict texts(const std::vector<Vote>& votes) const {
    py::dict weights;
    for (const Vote& vote : votes) weights[text(vote.answer)] = vote.weight;
    return weights;
  }
};

struct SeenView {
  std::shared_ptr<Seen> seen;
};

struct SeenBranch {
  std::shared_ptr<Seen> seen;
  std::int32_t index;

  const BranchRecord& get() const { return seen->get()[index]; }
};

// A view for the time of a call.
class Lent {
 public:
  Lent(const BranchesView& view, AnswerBook& book)
      : seen_(std::make_shared<Seen>(Seen{.view = &view, .book = &book})) {}
  ~Lent() { seen_->view = nullptr; }
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;

  py::object view() const { return py::cast(SeenView{seen_}); }

 private:
  std::shared_ptr<Seen> seen_;
};

py::list branches_of(const SeenView& view) {
  py::list branches;
  for (std::int32_t i = 0; i < view.seen->get().size(); ++i)
    branches.append(SeenBranch{view.seen, i});
  return branches;
}

py::dict vote_of(const SeenView& view, std::optional<bool> finished) {
  const BranchesView& branches = view.seen->get();
  std::vector<Vote> votes;
  if (finished.value_or(true)) votes = branches.finished_votes();
  const bool wants_current = finished.has_value() ? !*finished : votes.empty();
  if (wants_current) votes = branches.current_votes();
  return view.seen->texts(votes);
}

py::list probes_of(const SeenBranch& branch) {
  py::list probes;
  for (const ProbeReading& probe : branch.get().probes)
    probes.append(py::make_tuple(probe.num_tokens, branch.seen->text(probe.answer)));
  return probes;
}

py::object confidence_of(const SeenBranch& branch) {
  const double confidence = branch.get().confidence;
  return std::isnan(confidence) ? py::object(py::none()) : py::object(py::float_(confidence));
}

// Raises UnicodeEncodeError for half a surrogate pair.
std::string text_from(py::handle object) {
  return std::string(py::reinterpret_borrow<py::str>(object));
}

std::string shown(py::handle object) { return py::repr(object).cast<std::string>(); }

[[noreturn]] void raise_type_error(const std::string& text) { throw py::type_error(text); }

std::int64_t count_from(py::handle object, const char* what) {
  if (!py::isinstance<py::int_>(object) || py::isinstance<py::bool_>(object))
    raise_type_error(concat(what, " is ", shown(object), ", expected an integer"));
  int overflow = 0;
  const long long count = PyLong_AsLongLongAndOverflow(object.ptr(), &overflow);
  if (overflow != 0 || count < 0 || count > INT32_MAX) {
    throw ValueError(
        concat(what, " is ", shown(object), ", expected an integer from 0 to ", INT32_MAX));
  }
  return count;
}

// Weights of answers that Python says, heaviest first.
std::vector<Vote> votes_from(const py::object& said, AnswerBook& book) {
  if (!py::isinstance<py::dict>(said))
    raise_type_error(concat("a vote gave ", shown(said), ", expected a dict {answer: weight}"));
  std::vector<Vote> votes;
  for (const auto& [answer, weight] : said.cast<py::dict>()) {
    if (!py::isinstance<py::str>(answer))
      raise_type_error(concat("a vote names the answer ", shown(answer), ", expected a str"));
    const double value = weight.cast<double>();
    if (!std::isfinite(value) || value < 0.0) {
      throw ValueError(concat("a vote gives ", shown(answer), " the weight ", shown(weight),
                              ", expected a number of at least 0"));
    }
    votes.push_back({book.id_of(text_from(answer)), value});
  }
  std::stable_sort(votes.begin(), votes.end(),
                   [](const Vote& a, const Vote& b) { return a.weight > b.weight; });
  return votes;
}

class PythonController final : public Controller {
 public:
  PythonController(py::object object, AnswerBook& book) : book_(book), needs_(read_needs(object)) {
    const py::module_ home = py::module_::import("foresight.controller");
    start_ = GilObject(home.attr("Start"));
    fork_ = GilObject(home.attr("Fork"));
    probe_ = GilObject(home.attr("Probe"));
    prune_ = GilObject(home.attr("Prune"));
    stop_ = GilObject(home.attr("Stop"));
    on_start_ = method(object, "on_start", py::none());
    // What the base class leaves undone is not called.
    const py::object base = home.attr("Controller");
    on_probe_ = method(object, "on_probe", base);
    on_finish_ = method(object, "on_finish", base);
    on_interval_ = method(object, "on_interval", base);
    votes_ = method(object, "votes", base);
    if (!on_start_)
      raise_type_error(concat(shown(object), " is no controller: it has no method on_start"));
  }

  Needs needs() const override { return needs_; }

  void on_start(const BranchesView& view, Actions& actions) override {
    call(on_start_, view, std::nullopt, actions);
  }
  void on_probe(const BranchesView& view, std::int32_t branch, Actions& actions) override {
    call(on_probe_, view, branch, actions);
  }
  void on_finish(const BranchesView& view, std::int32_t branch, Actions& actions) override {
    call(on_finish_, view, branch, actions);
  }
  void on_interval(const BranchesView& view, Actions& actions) override {
    call(on_interval_, view, std::nullopt, actions);
  }
  std::vector<Vote> votes(const BranchesView& view) const override {
    if (!votes_) return Controller::votes(view);
    const py::gil_scoped_acquire gil;
    const Lent lent(view, book_);
    return votes_from(votes_.get()(lent.view()), book_);
  }

 private:
  static GilObject method(const py::object& object, const char* name, const py::object& base) {
    const py::object found = py::getattr(object, name, py::none());
    if (found.is_none()) return {};
    const py::object inherited = py::getattr(base, name, py::none());
    if (!inherited.is_none() && py::getattr(found, "__func__", py::none()).is(inherited)) return {};
    return GilObject(found);
  }

  static Needs read_needs(const py::object& object) {
    Needs needs;
    const auto count = [&](const char* name, std::int64_t unset) {
      const py::object value = py::getattr(object, name, py::none());
      return value.is_none() ? unset : count_from(value, name);
    };
    needs.interval = count("interval", 0);
    needs.probe_interval = count("probe_interval", 0);
    needs.confidence_group = count("confidence_group", needs.confidence_group);
    const py::object wants = py::getattr(object, "wants", py::tuple());
    if (py::isinstance<py::str>(wants))
      raise_type_error(concat("wants is ", shown(wants), ", expected a set of names"));
    for (const py::handle want : wants) {
      if (want.equal(py::str("confidence"))) {
        needs.confidence = true;
      } else if (want.equal(py::str("cache_bytes"))) {
        needs.cache_bytes = true;
      } else {
        throw ValueError(
            concat("wants holds ", shown(want), ", expected 'confidence' or 'cache_bytes'"));
      }
    }
    return needs;
  }

  void call(const GilObject& method, const BranchesView& view, std::optional<std::int32_t> branch,
            Actions& actions) {
    if (!method) return;
    const py::gil_scoped_acquire gil;
    const Lent lent(view, book_);
    const py::object said = branch ? method.get()(lent.view(), *branch) : method.get()(lent.view());
    if (said.is_none()) return;
    if (!py::isinstance<py::list>(said) && !py::isinstance<py::tuple>(said))
      raise_type_error(
          concat("the controller returned ", shown(said), ", expected a list of actions"));
    for (const py::handle action : said) read(action, actions);
  }

  void read(py::handle action, Actions& actions) {
    const auto branch = [&](const char* what) {
      return static_cast<std::int32_t>(count_from(action.attr("branch"), what));
    };
    const auto reason = [&] { return text_from(py::str(action.attr("reason"))); };
    if (py::isinstance(action, start_.get())) {
      actions.start(count_from(action.attr("count"), "the count of fs.Start"));
    } else if (py::isinstance(action, fork_.get())) {
      actions.fork(branch("the branch of fs.Fork"));
    } else if (py::isinstance(action, probe_.get())) {
      actions.probe(branch("the branch of fs.Probe"));
    } else if (py::isinstance(action, prune_.get())) {
      actions.prune(branch("the branch of fs.Prune"), reason());
    } else if (py::isinstance(action, stop_.get())) {
      actions.stop(answer_from(action.attr("answer")), reason());
    } else {
      raise_type_error(concat("the controller returned a list with ", shown(action),
                              ", expected fs.Start, fs.Fork, fs.Probe, fs.Prune or fs.Stop"));
    }
  }

  AnswerId answer_from(const py::object& answer) {
    if (answer.is_none()) return kNoAnswer;
    if (!py::isinstance<py::str>(answer))
      raise_type_error(
          concat("the answer of fs.Stop is ", shown(answer), ", expected a str or None"));
    return book_.id_of(text_from(answer));
  }

  AnswerBook& book_;
  Needs needs_;
  GilObject start_, fork_, probe_, prune_, stop_;  // classes
  GilObject on_start_, on_probe_, on_finish_, on_interval_, votes_;
};

// Another controller, whose final vote is a Python function.
class CountedByPython final : public Controller {
 public:
  CountedByPython(std::shared_ptr<Controller> inner, py::object count, AnswerBook& book)
      : inner_(std::move(inner)), count_(std::move(count)), book_(book) {}

  Needs needs() const override { return inner_->needs(); }
  void on_start(const BranchesView& view, Actions& actions) override {
    inner_->on_start(view, actions);
  }
  void on_probe(const BranchesView& view, std::int32_t branch, Actions& actions) override {
    inner_->on_probe(view, branch, actions);
  }
  void on_finish(const BranchesView& view, std::int32_t branch, Actions& actions) override {
    inner_->on_finish(view, branch, actions);
  }
  void on_interval(const BranchesView& view, Actions& actions) override {
    inner_->on_interval(view, actions);
  }
  std::vector<Vote> votes(const BranchesView& view) const override {
    const py::gil_scoped_acquire gil;
    const Lent lent(view, book_);
    return votes_from(count_.get()(lent.view()), book_);
  }

 private:
  std::shared_ptr<Controller> inner_;
  GilObject count_;
  AnswerBook& book_;
};

// A controller of the core by name, to be made anew for every request.
struct NamedController {
  std::string name;
  Options options;
  py::object inner;
  py::object vote;
};

std::shared_ptr<Controller> make_named(const NamedController& named, AnswerBook& book) {
  std::shared_ptr<Controller> inner;
  if (!named.inner.is_none()) inner = controller_from(named.inner, book);
  std::shared_ptr<Controller> made = make_controller(named.name, named.options, std::move(inner));
  if (named.vote.is_none()) return made;
  if (!py::isinstance<py::str>(named.vote))
    return std::make_shared<CountedByPython>(std::move(made), named.vote, book);
  const auto kind = named.vote.cast<std::string>();
  if (kind != "majority" && kind != "confidence") {
    throw ValueError(
        concat("vote is ", shown(named.vote), ", expected 'majority', 'confidence' or a function"));
  }
  made->set_vote(kind == "majority" ? VoteKind::majority : VoteKind::confidence);
  return made;
}

NamedController name_controller(std::string name, Options options, py::object inner,
                                py::object vote) {
  NamedController named{std::move(name), std::move(options), std::move(inner), std::move(vote)};
  AnswerBook book;
  make_named(named, book);  // says at once what is wrong
  return named;
}

}  // namespace

std::shared_ptr<Controller> controller_from(py::handle controller, AnswerBook& book) {
  if (py::isinstance<NamedController>(controller))
    return make_named(controller.cast<const NamedController&>(), book);
  const py::object copy = py::module_::import("copy").attr("deepcopy")(controller);
  auto made = std::make_shared<PythonController>(copy, book);
  const py::object vote = py::getattr(copy, "vote", py::none());
  if (vote.is_none() || vote.equal(py::str("majority"))) return made;
  if (!vote.equal(py::str("confidence"))) {
    throw ValueError(concat("vote is ", shown(vote),
                            ", expected 'majority' or 'confidence'; override the method votes for "
                            "another count"));
  }
  made->set_vote(VoteKind::confidence);
  return made;
}

bool calls_python(py::handle controller) {
  if (!py::isinstance<NamedController>(controller)) return true;
  const auto& named = controller.cast<const NamedController&>();
  const bool counts = !named.vote.is_none() && !py::isinstance<py::str>(named.vote);
  return counts || (!named.inner.is_none() && calls_python(named.inner));
}

void bind_python_controller(py::module_& m) {
  py::class_<SeenBranch>(m, "ControlledBranch", py::is_final())
      .def_property_readonly("index", [](const SeenBranch& b) { return b.index; })
      .def_property_readonly("status", [](const SeenBranch& b) { return name_of(b.get().status); })
      .def_property_readonly("parent",
                             [](const SeenBranch& b) -> std::optional<std::int32_t> {
                               if (b.get().parent < 0) return std::nullopt;
                               return b.get().parent;
                             })
      .def_property_readonly("start", [](const SeenBranch& b) { return b.get().start; })
      .def_property_readonly("num_tokens", [](const SeenBranch& b) { return b.get().num_tokens; })
      .def_property_readonly("answer",
                             [](const SeenBranch& b) { return b.seen->text(b.get().answer); })
      .def_property_readonly("probes", &probes_of)
      .def_property_readonly("confidence", &confidence_of)
      .def_property_readonly("cache_bytes", [](const SeenBranch& b) { return b.get().cache_bytes; })
      .def_property_readonly("reason", [](const SeenBranch& b) { return b.get().reason; });

  py::class_<SeenView>(m, "BranchesView", py::is_final())
      .def_property_readonly("clock", [](const SeenView& v) { return v.seen->get().clock(); })
      .def_property_readonly("branches", &branches_of)
      .def("vote", &vote_of, py::arg("finished") = py::none());

  py::class_<NamedController>(m, "NamedController", py::is_final())
      .def_readonly("name", &NamedController::name)
      .def_property_readonly("inner", [](const NamedController& named) { return named.inner; });
  m.def("make_controller", &name_controller, py::arg("name"), py::arg("options"),
        py::arg("inner") = py::none(), py::arg("vote") = py::none());
  m.def("controller_names", &controller_names);
}

}  // namespace foresight
