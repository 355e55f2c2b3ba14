#include "bindings/generator_policy.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <string>
#include <unordered_map>
#include <utility>

#include "bindings/gil_object.h"
#include "core/error.h"

namespace py = pybind11;

namespace foresight {

namespace {

AskKind ask_from(const std::string& name) {
  static const std::unordered_map<std::string, AskKind> kinds = {
      {"none", AskKind::none},
      {"argmax", AskKind::argmax},
      {"sample", AskKind::sample},
      {"top_k", AskKind::top_k},
      {"confidence", AskKind::confidence},
      {"prob_of", AskKind::prob_of},
      {"logits", AskKind::logits}};
  const auto found = kinds.find(name);
  if (found == kinds.end()) throw ValueError(concat("ask '", name, "' is not known"));
  return found->second;
}

Row row_from(const py::handle& object, const BranchView& view) {
  Row row;
  row.token = object.attr("token").cast<Token>();
  row.position = object.attr("position").cast<std::int32_t>();
  row.rank = object.attr("rank").cast<std::int32_t>();
  row.limit = object.attr("limit").cast<std::int32_t>();
  const py::object replaces = object.attr("replaces");
  if (!replaces.is_none()) row.replaces = replaces.cast<std::int32_t>();
  row.ask.kind = ask_from(object.attr("ask").cast<std::string>());
  row.ask.k = object.attr("k").cast<std::int32_t>();
  row.ask.token = object.attr("prob_token").cast<Token>();
  row.ask.draw = object.attr("draw").cast<std::uint32_t>();
  const auto check = [](const char* field, std::int64_t value, std::int64_t end) {
    if (value < 0 || value >= end)
      throw ValueError(concat("row ", field, " ", value, " is outside [0, ", end, ")"));
  };
  const auto length = static_cast<std::int64_t>(view.tokens.size());
  check("token", row.token, view.model.vocab_size);
  check("position", row.position, view.max_length + 1);
  check("rank", row.rank, std::int64_t{kRankInfinity} + 1);
  check("limit", row.limit, std::int64_t{kRankInfinity} + 1);
  if (row.replaces != kNoSlot) check("replaces", row.replaces, length - 1);
  if (row.ask.kind == AskKind::prob_of) check("prob_token", row.ask.token, view.model.vocab_size);
  if (row.ask.kind == AskKind::top_k) check("k", row.ask.k, view.model.vocab_size + 1);
  return row;
}

Segment segment_from(const py::object& rows, const py::object& ancestors, const BranchView& view) {
  Segment segment;
  for (const py::handle row : rows) segment.rows.push_back(row_from(row, view));
  if (segment.rows.empty()) throw ValueError("a Plan needs at least one row");
  if (ancestors.is_none()) return segment;
  const std::size_t words = (segment.rows.size() + 63) / 64;
  const py::int_ mask(~std::uint64_t{0});
  for (const py::handle bits : ancestors) {
    auto rest = py::reinterpret_borrow<py::object>(bits);
    for (std::size_t word = 0; word < words; ++word) {
      segment.ancestors.push_back((rest & mask).cast<std::uint64_t>());
      rest = rest >> py::int_(64);
    }
  }
  if (segment.ancestors.size() != segment.rows.size() * words) {
    throw ValueError(
        concat("a Plan of ", segment.rows.size(), " rows needs as many ancestor sets"));
  }
  return segment;
}

Plan plan_from(const py::object& object, const BranchView& view) {
  Plan plan;
  const py::object segments = object.attr("segments");
  if (segments.is_none()) {
    plan.segments.push_back(segment_from(object.attr("rows"), object.attr("ancestors"), view));
    return plan;
  }
  for (const py::handle segment : segments) {
    plan.segments.push_back(segment_from(segment.attr("rows"), segment.attr("ancestors"), view));
  }
  if (plan.segments.size() != 1)
    throw NotImplementedError("a Plan of a user's policy has one segment, the target's");
  return plan;
}

StopReason stop_from(const py::object& stop) {
  if (stop.is_none()) return StopReason::none;
  const auto name = stop.cast<std::string>();
  for (const StopReason reason : {StopReason::eos, StopReason::length, StopReason::controller}) {
    if (name == name_of(reason)) return reason;
  }
  throw ValueError(concat("stop '", name, "' is not one of eos, length, controller"));
}

// Without a word from the user those rows stay that continue the cached sequence.
std::vector<std::int32_t> continuing_rows(const BranchView& view, const Segment& segment,
                                          const std::vector<CommittedToken>& committed) {
  std::vector<std::int32_t> kept;
  auto position = static_cast<std::int64_t>(view.tokens.size()) - 1;
  for (std::size_t i = 0; i < segment.rows.size(); ++i) {
    const Row& row = segment.rows[i];
    const auto beyond = position - static_cast<std::int64_t>(view.tokens.size());
    if (row.position != position || row.replaces != kNoSlot) continue;
    if (beyond >= static_cast<std::int64_t>(committed.size())) break;
    const Token token =
        beyond < 0 ? view.tokens.back() : committed[static_cast<std::size_t>(beyond)].token;
    if (row.token != token) continue;
    kept.push_back(static_cast<std::int32_t>(i));
    ++position;
  }
  return kept;
}

Commit commit_from(const py::object& object, const BranchView& view, const Plan& plan,
                   Readout& readout) {
  Commit commit;
  for (const py::handle item : object.attr("tokens")) {
    const auto token = item.cast<Token>();
    if (token < 0 || token >= view.model.vocab_size) {
      throw ValueError(
          concat("committed token ", token, " is outside [0, ", view.model.vocab_size, ")"));
    }
    CommittedToken& committed = commit.tokens.emplace_back();
    committed.token = token;
  }
  // Readouts that decided these very tokens, in order, go with them.
  std::size_t next = 0;
  for (RowReadout& answer : readout.segments.at(0)) {
    if (next < commit.tokens.size() && answer.token == commit.tokens[next].token) {
      commit.tokens[next++].readout = std::move(answer);
    }
  }
  const py::object keep = object.attr("keep");
  std::vector<std::int32_t> kept = keep.is_none()
                                       ? continuing_rows(view, plan.segments[0], commit.tokens)
                                       : keep.cast<std::vector<std::int32_t>>();
  const auto num_rows = static_cast<std::int32_t>(plan.segments[0].rows.size());
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const bool ascending = i == 0 || kept[i] > kept[i - 1];
    if (kept[i] < 0 || kept[i] >= num_rows || !ascending) {
      throw ValueError(
          concat("keep must be ascending indices in [0, ", num_rows, "), found ", kept[i]));
    }
  }
  commit.kept_rows.push_back(std::move(kept));
  commit.stop = stop_from(object.attr("stop"));
  return commit;
}

class GeneratorPolicy final : public Policy {
 public:
  explicit GeneratorPolicy(py::object factory) : factory_(std::move(factory)) {}
  ~GeneratorPolicy() override {
    const py::gil_scoped_acquire gil;
    runs_.clear();
  }

  bool thread_safe() const override { return false; }

  std::int64_t required_cache(const BranchView& view, const PolicyState&, Role) const override {
    return static_cast<std::int64_t>(view.tokens.size()) - 1;
  }

  Plan plan(const BranchView& view, const PolicyState&) const override {
    const py::gil_scoped_acquire gil;
    Run& run = runs_[view.branch];
    if (run.has_plan && run.length == view.tokens.size()) return run.plan;
    run.has_plan = false;
    const bool restart = !run.generator || run.length != view.tokens.size();
    if (restart) run.view = py::module_::import("types").attr("SimpleNamespace")();
    update_view(run.view, view);
    run.length = view.tokens.size();
    if (restart) {
      run.generator = factory_.get()(run.view);
      set_plan(run, run.generator.attr("send")(py::none()), view);
    } else if (run.next) {
      set_plan(run, std::exchange(run.next, py::object()), view);
    } else {
      set_plan(run, resume(run, py::none()), view);
    }
    return run.plan;
  }

  Commit advance(const BranchView& view, PolicyState&, const Plan& plan,
                 Readout& readout) const override {
    const py::gil_scoped_acquire gil;
    Run& run = runs_.at(view.branch);
    run.has_plan = false;
    const py::object answers = py::cast(readout.segments.at(0));
    const py::object item = resume(run, answers);
    const auto policy = py::module_::import("foresight.policies");
    if (py::isinstance(item, policy.attr("Plan"))) {
      run.next = item;  // a second look before committing: nothing of this forward stays
      return {.kept_rows = {{}}};
    }
    if (!py::isinstance(item, policy.attr("Commit"))) throw_unknown(item);
    Commit commit = commit_from(item, view, plan, readout);
    run.length += commit.tokens.size();
    return commit;
  }

 private:
  struct Run {
    py::object generator;
    py::object view;
    py::object next;  // a Plan that was yielded where a Commit could have been
    Plan plan;
    bool has_plan = false;
    std::size_t length = 0;  // of the committed tokens that the generator knows
  };

  [[noreturn]] static void throw_unknown(const py::object& item) {
    throw ValueError(
        concat("a policy yields fs.Plan and fs.Commit, got ", py::repr(item).cast<std::string>()));
  }

  static py::object resume(Run& run, const py::object& value) {
    try {
      return run.generator.attr("send")(value);
    } catch (py::error_already_set& error) {
      run.generator = py::object();  // it has ended: start anew if the caller goes on
      if (!error.matches(PyExc_StopIteration)) throw;
      throw ValueError(
          "the policy's generator ended before its sequence did: yield Commit(stop=...) to end it");
    }
  }

  static void set_plan(Run& run, const py::object& item, const BranchView& view) {
    if (!py::isinstance(item, py::module_::import("foresight.policies").attr("Plan")))
      throw_unknown(item);
    run.plan = plan_from(item, view);
    run.has_plan = true;
  }

  static void update_view(const py::object& object, const BranchView& view) {
    object.attr("tokens") = py::cast(std::vector<Token>(view.tokens.begin(), view.tokens.end()));
    object.attr("prompt_length") = view.prompt_length;
    object.attr("cached") = static_cast<std::int64_t>(view.tokens.size()) - 1;
    object.attr("max_length") = view.max_length;
    object.attr("vocab_size") = view.model.vocab_size;
  }

  GilObject factory_;
  mutable std::unordered_map<std::uint64_t, Run> runs_;
};

}  // namespace

std::shared_ptr<const Policy> make_generator_policy(py::object factory) {
  return std::make_shared<GeneratorPolicy>(std::move(factory));
}

}  // namespace foresight
