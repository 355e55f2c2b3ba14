// Errors in two tiers: what a caller did wrong, and broken invariants of our own.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace foresight {

// The caller's mistake: the message holds the offending value, what was expected and what to do.
// Becomes Python's ValueError.
class ValueError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// A combination that is understood but not built. Becomes Python's NotImplementedError.
class NotImplementedError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// A single request that can never fit into the cache. Becomes foresight.CacheFullError.
class CacheFullError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A broken invariant of Foresight itself. Becomes foresight.InternalError.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// The run was cancelled by its caller (Ctrl-C, a closed iterator). Never shown to users as it is.
class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("cancelled") {}
};

// Joins its arguments with operator<< into one string (messages, names).
template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

[[noreturn]] void throw_internal_error(const char* file, int line, const char* condition,
                                       const std::string& detail);

}  // namespace foresight

// Checks an invariant in every build; `detail` is only evaluated on failure.
#define FORESIGHT_CHECK(condition, detail)                                         \
  do {                                                                             \
    if (!(condition)) {                                                            \
      ::foresight::throw_internal_error(__FILE__, __LINE__, #condition, (detail)); \
    }                                                                              \
  } while (false)
