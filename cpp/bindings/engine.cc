#include "engine/engine.h"

#include <pybind11/stl.h>

#include <mutex>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/config.h"
#include "bindings/reading.h"
#include "engine/cost_curve.h"
#include "engine/job.h"
#include "engine/session.h"
#include "model/families/families.h"

namespace py = pybind11;

namespace foresight {

namespace {

using Tokens = std::vector<Token>;
using Sessions = std::vector<Session*>;

std::shared_ptr<Engine> make_engine(const py::dict& fields, const py::dict& tensors,
                                    const std::string& dtype, std::size_t kv_cache_bytes,
                                    int num_threads, const std::optional<std::string>& isa) {
  const ModelConfig config = model_config_from(fields);
  const Weights weights = weights_from(tensors);
  const DType storage = dtype_from_name(dtype);
  const std::optional<Isa> forced = isa ? std::optional(isa_from_name(*isa)) : std::nullopt;
  const py::gil_scoped_release no_gil;
  auto runtime = std::make_unique<CpuRuntime>(num_threads, forced);
  auto model = make_model(runtime->context(), config, weights, storage);
  return std::make_shared<Engine>(std::move(runtime), std::move(model), kv_cache_bytes);
}

py::dict memory(Engine& engine) {
  py::dict out;
  const auto page = static_cast<std::int64_t>(engine.page_bytes());
  std::int64_t used = 0;
  std::int64_t peak = 0;
  {
    const py::gil_scoped_release no_gil;
    const std::lock_guard guard(engine.step_mutex());
    used = engine.cache().num_used_pages();
    peak = engine.peak_pages();
  }
  out["packed"] = engine.model().packed_bytes();
  out["cache"] = engine.cache().num_pages() * page;
  out["cache_used"] = used * page;
  out["cache_peak"] = peak * page;
  return out;
}

FeedWant want_from(const std::string& logits, bool hidden) {
  if (logits == "none") return FeedWant::none;
  if (logits == "last") return hidden ? FeedWant::last_hidden : FeedWant::last_logits;
  if (logits == "all") return hidden ? FeedWant::all_hidden : FeedWant::all_logits;
  throw ValueError(concat("logits '", logits, "' is not one of all, last, none"));
}

py::list extend(Engine& engine, const Sessions& sessions, const std::vector<Tokens>& tokens,
                const std::string& logits,
                const std::optional<std::vector<std::int32_t>>& hidden_layers) {
  const FeedWant want = want_from(logits, hidden_layers.has_value());
  std::vector<FeedResult> results;
  {
    const py::gil_scoped_release no_gil;
    results = feed(engine, sessions, tokens, want,
                   hidden_layers.value_or(std::vector<std::int32_t>{}), [] { poll_signals(); });
  }
  py::list out;
  for (FeedResult& result : results) {
    if (want == FeedWant::none) {
      out.append(py::none());
      continue;
    }
    std::vector<py::ssize_t> shape{result.num_rows, result.row_size};
    if (hidden_layers) {
      shape = {result.num_rows, static_cast<py::ssize_t>(hidden_layers->size()),
               engine.config().hidden_size};
    }
    out.append(to_array(std::move(result.values), std::move(shape)));
  }
  return out;
}

}  // namespace

void bind_engine(py::module_& m) {
  py::class_<Engine, std::shared_ptr<Engine>>(m, "Engine", py::is_final(),
                                              py::release_gil_before_calling_cpp_dtor())
      .def(py::init(&make_engine), py::arg("config"), py::arg("tensors"), py::kw_only(),
           py::arg("dtype"), py::arg("kv_cache_bytes"), py::arg("num_threads") = 0,
           py::arg("isa") = py::none())
      .def_property_readonly("num_threads",
                             [](const Engine& e) { return e.context().threads->num_threads(); })
      .def_property_readonly("isa",
                             [](const Engine& e) { return std::string(name_of(e.context().isa)); })
      .def_property_readonly(
          "max_cached_tokens",
          [](const Engine& e) { return e.cache().num_pages() * e.cache().page_slots(); })
      .def("memory", &memory)
      .def("check_integrity",
           [](Engine& e) {
             const py::gil_scoped_release no_gil;
             const std::lock_guard guard(e.step_mutex());
             e.cache().check_integrity();
           })
      .def("preempt_all",
           [](Engine& e) {
             const py::gil_scoped_release no_gil;
             const std::lock_guard guard(e.step_mutex());
             e.preempt_all();
           })
      .def(
          "fix_chunk_rows",
          [](Engine& e, std::int64_t rows) {
            const py::gil_scoped_release no_gil;
            const std::lock_guard guard(e.step_mutex());
            e.chunk_budget().fix(rows);
          },
          py::arg("rows"))
      .def("job", [](std::shared_ptr<Engine> e) { return std::make_unique<Job>(std::move(e)); })
      .def(
          "session",
          [](std::shared_ptr<Engine> e, std::int64_t max_length) {
            const py::gil_scoped_release no_gil;
            return std::make_unique<Session>(std::move(e), max_length);
          },
          py::arg("max_length") = 0)
      .def("extend", &extend, py::arg("sessions"), py::arg("tokens"), py::arg("logits") = "last",
           py::arg("hidden_layers") = py::none())
      .def(
          "measure_forwards",
          [](Engine& e, const std::vector<std::int64_t>& rows, int repeats) {
            const py::gil_scoped_release no_gil;
            return measure_forwards(e, rows, repeats);
          },
          py::arg("rows"), py::arg("repeats") = 2)
      .def("score", &score_sequences, py::arg("sequences"), py::arg("starts"))
      .def("read_masked", &read_canvases, py::arg("canvases"), py::arg("positions"),
           py::arg("tokens"), py::arg("orders") = py::none());
}

}  // namespace foresight
