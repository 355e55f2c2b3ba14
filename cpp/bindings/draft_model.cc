#include "engine/draft_model.h"

#include <pybind11/stl.h>

#include <optional>

#include "bindings/bindings.h"
#include "bindings/python_drafter.h"
#include "decode/drafters/random_tokens.h"
#include "engine/engine.h"

namespace py = pybind11;

namespace foresight {

namespace {

std::shared_ptr<DraftModel> make_draft_model(Engine& target, Engine& drafter,
                                             std::optional<std::int64_t> num_layers,
                                             std::int64_t num_slots, std::int64_t num_sequences,
                                             std::vector<std::vector<Token>> spelled,
                                             std::vector<Token> same) {
  const py::gil_scoped_release no_gil;
  const std::int64_t layers = num_layers.value_or(drafter.config().num_layers);
  if (layers < 1 || layers > drafter.config().num_layers) {
    throw ValueError(concat("layer ", layers, " is not between 1 and ", drafter.config().num_layers,
                            ", the model's"));
  }
  auto model = drafter.model().share(target.context(), layers);
  // A last page that is not full, for each sequence.
  const std::int64_t pages = num_slots / model->page_slots() + num_sequences + 1;
  return std::make_shared<DraftModel>(target.context(), std::move(model),
                                      target.config().vocab_size, pages,
                                      VocabularyMap{std::move(spelled), std::move(same)});
}

}  // namespace

void bind_draft_model(py::module_& m) {
  py::class_<DraftModel, Drafter, std::shared_ptr<DraftModel>>(m, "DraftModel", py::is_final())
      .def(py::init(&make_draft_model), py::arg("target"), py::arg("drafter"), py::kw_only(),
           py::arg("num_layers") = py::none(), py::arg("num_slots"), py::arg("num_sequences"),
           py::arg("spelled") = py::list(), py::arg("same") = py::list(), py::keep_alive<1, 2>());
  py::class_<RandomTokens, Drafter, std::shared_ptr<RandomTokens>>(m, "RandomTokens",
                                                                   py::is_final())
      .def(py::init<std::int64_t>(), py::arg("vocab_size"));
  m.def("python_drafter", &make_python_drafter, py::arg("propose"), py::arg("vocab_size"));
}

}  // namespace foresight
