#include "engine/job.h"

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/branch_control.h"
#include "bindings/generator_policy.h"
#include "bindings/python_processor.h"
#include "bindings/sampling_params.h"
#include "core/error.h"
#include "decode/policies.h"
#include "trace/json_lines.h"

namespace py = pybind11;

namespace foresight {

namespace {

// A job event with the tokens it stands for.
struct BoundEvent {
  JobEvent event;
  std::vector<Token> tokens;
  std::vector<std::int64_t> positions;
};

std::vector<std::int64_t> positions_of(const Branch& branch, std::int64_t first,
                                       std::int64_t count) {
  std::vector<std::int64_t> positions;
  for (std::int64_t i = first; i < first + count; ++i) positions.push_back(branch.new_position(i));
  return positions;
}

std::vector<Token> new_tokens(const Branch& branch, std::int64_t first, std::int64_t count) {
  std::vector<Token> tokens;
  for (std::int64_t i = first; i < first + count; ++i) tokens.push_back(branch.new_token(i));
  return tokens;
}

py::object stop_name(StopReason stop) {
  return stop == StopReason::none ? py::object(py::none()) : py::object(py::str(name_of(stop)));
}

std::shared_ptr<const Policy> policy_from(const py::object& policy, const py::object& options) {
  if (!py::isinstance<py::str>(policy)) {
    if (!options.is_none() && py::len(options) > 0) {
      throw ValueError(concat("policy_options ", py::repr(options).cast<std::string>(),
                              " go with a policy's name; a generator takes its own arguments"));
    }
    return make_generator_policy(policy);
  }
  PolicyOptions parsed;
  if (!options.is_none()) parsed = options.cast<PolicyOptions>();
  return make_policy(policy.cast<std::string>(), parsed);
}

std::int64_t add(Job& job, std::vector<Token> tokens, const py::dict& sampling,
                 std::int64_t max_new_tokens, std::uint64_t seed, std::int64_t num_sequences,
                 float guidance_scale, std::optional<std::vector<Token>> negative_tokens,
                 const py::object& prefix_processor, const std::vector<py::object>& processors,
                 const py::object& policy, const py::object& policy_options,
                 std::shared_ptr<Drafter> drafter, std::optional<double> max_seconds,
                 std::optional<std::int32_t> logprobs, bool output_scores, bool output_logits,
                 Session* session, const std::optional<py::dict>& control) {
  RequestSpec spec;
  spec.tokens = std::move(tokens);
  spec.sampling = sampling_params_from(sampling);
  spec.max_new_tokens = max_new_tokens;
  spec.seed = seed;
  spec.num_sequences = num_sequences;
  spec.guidance_scale = guidance_scale;
  spec.negative_tokens = std::move(negative_tokens).value_or(std::vector<Token>{});
  if (!prefix_processor.is_none()) spec.prefix_processor = make_python_processor(prefix_processor);
  for (const py::object& processor : processors)
    spec.user_processors.push_back(make_python_processor(processor));
  spec.policy = policy_from(policy, policy_options);
  spec.drafter = std::move(drafter);
  spec.max_seconds = max_seconds;
  spec.logprobs = logprobs;
  spec.output_scores = output_scores;
  spec.output_logits = output_logits;
  spec.session = session;
  if (control.has_value()) spec.control = control_spec_from(*control);
  const py::gil_scoped_release no_gil;
  return job.add(std::move(spec));
}

std::vector<BoundEvent> advance(Job& job, const std::string& until) {
  Until mode = Until::done;
  if (until == "step") {
    mode = Until::step;
  } else if (until == "finished") {
    mode = Until::finished;
  } else if (until != "done") {
    throw ValueError(concat("until '", until, "' is not one of step, finished, done"));
  }
  std::vector<BoundEvent> bound;
  const py::gil_scoped_release no_gil;
  for (const JobEvent& event : job.advance(mode, [] { poll_signals(); })) {
    const Branch& branch = job.branch(event.request, event.sequence);
    bound.push_back({event, new_tokens(branch, event.first_new, event.num_new),
                     positions_of(branch, event.first_new, event.num_new)});
  }
  return bound;
}

StopReason reason_from(const std::string& name) {
  for (const StopReason reason : {StopReason::stop_string, StopReason::criteria, StopReason::time,
                                  StopReason::controller, StopReason::eos, StopReason::length}) {
    if (name == name_of(reason)) return reason;
  }
  throw ValueError(concat("finish reason '", name, "' is not known"));
}

py::tuple logprobs(const Job& job, std::int64_t request, std::int64_t sequence) {
  const Branch& branch = job.branch(request, sequence);
  const auto size = static_cast<py::ssize_t>(branch.readouts.size());
  std::vector<float> processed;
  std::vector<float> raw;
  py::list tops;
  for (const RowReadout& readout : branch.readouts) {
    processed.push_back(readout.logprob);
    raw.push_back(readout.raw_logprob);
    py::list top;
    for (const TopEntry& entry : readout.top)
      top.append(py::make_tuple(entry.token, entry.logprob));
    tops.append(top);
  }
  return py::make_tuple(to_array(std::move(processed), {size}), to_array(std::move(raw), {size}),
                        tops);
}

py::array_t<float> rows_of(const Job& job, std::int64_t request, std::int64_t sequence,
                           std::vector<float> RowReadout::*field) {
  const Branch& branch = job.branch(request, sequence);
  std::vector<float> values;
  py::ssize_t width = 0;
  for (const RowReadout& readout : branch.readouts) {
    const std::vector<float>& row = readout.*field;
    width = static_cast<py::ssize_t>(row.size());
    values.insert(values.end(), row.begin(), row.end());
  }
  return to_array(std::move(values), {static_cast<py::ssize_t>(branch.readouts.size()), width});
}

py::dict counters_dict(const Counters& counters) {
  py::dict out;
  out["forwards"] = counters.forwards;
  out["rows"] = counters.rows;
  out["generated_tokens"] = counters.generated_tokens;
  out["draft_forwards"] = counters.draft_forwards;
  out["drafted_tokens"] = counters.drafted_tokens;
  out["accepted_tokens"] = counters.accepted_tokens;
  out["latent_rows"] = counters.latent_rows;
  out["candidate_rows"] = counters.candidate_rows;
  out["probe_tokens"] = counters.probe_tokens;
  out["recomputed_rows"] = counters.recomputed_rows;
  return out;
}

py::dict stats(const Job& job) {
  const Job::Stats stats = job.stats();
  py::dict out = counters_dict(stats.counters);
  out["decode_forwards"] = stats.decode_forwards;
  out["drafted_at"] = stats.drafted_at;
  out["accepted_at"] = stats.accepted_at;
  out["draft_seconds"] = stats.draft_seconds;
  out["verify_seconds"] = stats.verify_seconds;
  out["peak_cache_bytes"] = stats.peak_cache_bytes;
  out["preemptions"] = stats.preemptions;
  out["seconds"] = stats.seconds;
  out["forward_seconds"] = stats.forward_seconds;
  return out;
}

py::dict sequence_stats(const Job& job, std::int64_t request, std::int64_t sequence) {
  const Branch& branch = job.branch(request, sequence);
  py::dict out = counters_dict(branch.counters);
  out["decode_forwards"] = branch.decode_forwards;
  out["drafted_at"] = branch.drafted_at;
  out["accepted_at"] = branch.accepted_at;
  return out;
}

}  // namespace

void bind_job(py::module_& m) {
  py::class_<RowReadout>(m, "RowReadout", py::is_final())
      .def_readonly("token", &RowReadout::token)
      .def_readonly("logprob", &RowReadout::logprob)
      .def_readonly("raw_logprob", &RowReadout::raw_logprob)
      .def_readonly("max_prob", &RowReadout::max_prob)
      .def_readonly("margin", &RowReadout::margin)
      .def_readonly("entropy", &RowReadout::entropy)
      .def_readonly("is_argmax", &RowReadout::is_argmax)
      .def_property_readonly("top",
                             [](const RowReadout& r) {
                               std::vector<std::pair<Token, float>> top;
                               for (const TopEntry& entry : r.top)
                                 top.emplace_back(entry.token, entry.logprob);
                               return top;
                             })
      .def_property_readonly("logits", [](const RowReadout& r) {
        return to_array(r.logits, {static_cast<py::ssize_t>(r.logits.size())});
      });

  py::class_<BoundEvent>(m, "Event", py::is_final())
      .def_property_readonly("request", [](const BoundEvent& e) { return e.event.request; })
      .def_property_readonly("sequence", [](const BoundEvent& e) { return e.event.sequence; })
      .def_readonly("tokens", &BoundEvent::tokens)
      .def_readonly("positions", &BoundEvent::positions)
      .def_property_readonly("finish_reason",
                             [](const BoundEvent& e) { return stop_name(e.event.stop); });

  py::class_<Job>(m, "Job", py::is_final(), py::release_gil_before_calling_cpp_dtor())
      .def("add", &add, py::arg("tokens"), py::kw_only(), py::arg("sampling"),
           py::arg("max_new_tokens"), py::arg("seed"), py::arg("num_sequences") = 1,
           py::arg("guidance_scale") = 1.0f, py::arg("negative_tokens") = py::none(),
           py::arg("prefix_processor") = py::none(), py::arg("processors") = py::tuple(),
           py::arg("policy") = "autoregressive", py::arg("policy_options") = py::none(),
           py::arg("drafter") = py::none(), py::arg("max_seconds") = py::none(),
           py::arg("logprobs") = py::none(), py::arg("output_scores") = false,
           py::arg("output_logits") = false, py::arg("session") = py::none(),
           py::arg("control") = py::none())
      .def(
          "trace",
          [](Job& job, const std::string& path) {
            job.set_trace(std::make_unique<JsonLinesSink>(path));
          },
          py::arg("path"))
      .def("advance", &advance, py::arg("until") = "done")
      .def("done", &Job::done)
      .def(
          "finish",
          [](Job& job, std::int64_t request, std::int64_t sequence, std::int64_t num_new,
             const std::string& reason) {
            const StopReason stop = reason_from(reason);
            const py::gil_scoped_release no_gil;
            job.finish(request, sequence, num_new, stop);
          },
          py::arg("request"), py::arg("sequence"), py::arg("num_new_tokens"), py::arg("reason"))
      .def(
          "new_tokens",
          [](const Job& job, std::int64_t request, std::int64_t sequence) {
            const Branch& branch = job.branch(request, sequence);
            return new_tokens(branch, 0, branch.num_new_tokens());
          },
          py::arg("request"), py::arg("sequence"))
      .def(
          "positions",
          [](const Job& job, std::int64_t request, std::int64_t sequence) {
            const Branch& branch = job.branch(request, sequence);
            return positions_of(branch, 0, branch.num_new_tokens());
          },
          py::arg("request"), py::arg("sequence"))
      .def(
          "finish_reason",
          [](const Job& job, std::int64_t request, std::int64_t sequence) {
            return stop_name(job.branch(request, sequence).stop);
          },
          py::arg("request"), py::arg("sequence"))
      .def("logprobs", &logprobs, py::arg("request"), py::arg("sequence"))
      .def(
          "scores",
          [](const Job& job, std::int64_t request, std::int64_t sequence) {
            return rows_of(job, request, sequence, &RowReadout::scores);
          },
          py::arg("request"), py::arg("sequence"))
      .def(
          "logits",
          [](const Job& job, std::int64_t request, std::int64_t sequence) {
            return rows_of(job, request, sequence, &RowReadout::logits);
          },
          py::arg("request"), py::arg("sequence"))
      .def("num_sequences", &Job::num_sequences, py::arg("request"))
      .def("num_forwards", &Job::num_forwards, py::arg("request"))
      .def(
          "is_request_done",
          [](const Job& job, std::int64_t request) { return job.control(request).done(); },
          py::arg("request"))
      .def(
          "is_request_failed",
          [](const Job& job, std::int64_t request) { return job.control(request).failed(); },
          py::arg("request"))
      .def(
          "branches",
          [](const Job& job, std::int64_t request) { return branches_of(job.control(request)); },
          py::arg("request"))
      .def(
          "probe_tokens",
          [](const Job& job, std::int64_t request, std::int32_t number) {
            job.branch(request, number);  // throws where there is none
            const ProbeResult* probe = job.control(request).last_probe(number);
            return probe == nullptr ? std::optional<std::pair<std::int64_t, std::vector<Token>>>()
                                    : std::make_pair(probe->num_tokens, probe->tokens);
          },
          py::arg("request"), py::arg("number"))
      .def(
          "outcome",
          [](const Job& job, std::int64_t request) {
            const BranchControl& control = job.control(request);
            if (!control.done() || control.failed())
              throw ValueError(concat("request ", request, " has no outcome"));
            return outcome_of(control);
          },
          py::arg("request"))
      .def("stats", &stats)
      .def("sequence_stats", &sequence_stats, py::arg("request"), py::arg("sequence"))
      .def("close", &Job::close, py::call_guard<py::gil_scoped_release>());
}

}  // namespace foresight
