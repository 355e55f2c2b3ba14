#include "engine/draft_head.h"

#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/config.h"
#include "core/error.h"
#include "engine/engine.h"

namespace py = pybind11;

namespace foresight {

namespace {

// The packed weights of a head, and how its tokens relate to the target's.
struct Head {
  std::shared_ptr<Engine> target;
  std::shared_ptr<const HeadWeights> weights;
  std::vector<Token> to_target;
};

std::shared_ptr<Head> make_head(std::shared_ptr<Engine> target, const py::dict& fields,
                                const py::dict& tensors, const std::string& dtype,
                                std::vector<Token> to_target) {
  const HeadConfig config = head_config_from(fields);
  const ModelConfig& model = target->config();
  if (config.target_hidden_size != model.hidden_size ||
      config.target_vocab_size != model.vocab_size) {
    throw ValueError(concat("the draft head was made for a model of hidden size ",
                            config.target_hidden_size, " and ", config.target_vocab_size,
                            " tokens, the target has hidden size ", model.hidden_size, " and ",
                            model.vocab_size, " tokens"));
  }
  for (const std::int32_t layer : config.target_layers) {
    if (layer < 0 || layer > model.num_layers) {
      throw ValueError(concat("the draft head looks at layer ", layer, " of the target, which has ",
                              model.num_layers));
    }
  }
  const Weights weights = weights_from(tensors);
  const DType storage = dtype_from_name(dtype);
  const py::gil_scoped_release no_gil;
  auto packed = std::make_shared<const HeadWeights>(target->context(), config, weights,
                                                    target->model().token_matrices(), storage);
  return std::make_shared<Head>(Head{.target = std::move(target),
                                     .weights = std::move(packed),
                                     .to_target = std::move(to_target)});
}

std::shared_ptr<DraftHead> make_draft_head(const Head& head, std::int64_t num_slots,
                                           std::int64_t num_sequences) {
  const py::gil_scoped_release no_gil;
  auto network = make_draft_network(head.target->context(), head.weights);
  // A last page that is not full, for each sequence.
  const std::int64_t pages = num_slots / network->page_slots() + num_sequences + 1;
  return std::make_shared<DraftHead>(head.target->context(), std::move(network), pages,
                                     head.to_target);
}

}  // namespace

void bind_draft_head(py::module_& m) {
  py::class_<Head, std::shared_ptr<Head>>(m, "Head", py::is_final())
      .def(py::init(&make_head), py::arg("target"), py::arg("config"), py::arg("tensors"),
           py::kw_only(), py::arg("dtype"), py::arg("to_target") = py::list())
      .def_property_readonly("packed_bytes",
                             [](const Head& head) { return head.weights->packed_bytes(); });
  py::class_<DraftHead, Drafter, std::shared_ptr<DraftHead>>(m, "DraftHead", py::is_final())
      .def(py::init(&make_draft_head), py::arg("head"), py::kw_only(), py::arg("num_slots"),
           py::arg("num_sequences"), py::keep_alive<1, 2>())
      .def_property_readonly("hidden_layers", &DraftHead::hidden_layers);
}

}  // namespace foresight
