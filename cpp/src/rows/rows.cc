#include "rows/rows.h"

namespace foresight {

const char* name_of(StopReason reason) {
  switch (reason) {
    case StopReason::none:
      return "none";
    case StopReason::eos:
      return "eos";
    case StopReason::length:
      return "length";
    case StopReason::stop_string:
      return "stop_string";
    case StopReason::criteria:
      return "criteria";
    case StopReason::time:
      return "time";
    case StopReason::controller:
      return "controller";
  }
  return "?";
}

}  // namespace foresight
