#include "core/error.h"

namespace foresight {

void throw_internal_error(const char* file, int line, const char* condition,
                          const std::string& detail) {
  throw InternalError(concat(file, ":", line, ": ", condition, " does not hold: ", detail));
}

}  // namespace foresight
