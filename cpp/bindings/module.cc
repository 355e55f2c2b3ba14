#include "bindings/bindings.h"
#include "decode/policies.h"
#include "model/families/families.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of Foresight: a row engine over a paged cache.";
  m.attr("__version__") = FORESIGHT_VERSION;
  foresight::bind_errors(m);
  foresight::bind_machine(m);
  foresight::bind_control(m);
  foresight::bind_session(m);
  foresight::bind_engine(m);
  foresight::bind_drafter(m);
  foresight::bind_draft_model(m);
  foresight::bind_draft_head(m);
  foresight::bind_job(m);
  pybind11::module_ testing =
      m.def_submodule("testing", "Doors for tests: ops, processors, the parity harness.");
  foresight::bind_testing(testing);
  foresight::bind_testing_sample(testing);
  foresight::bind_testing_model(testing);
  foresight::bind_testing_draft(testing);
}
