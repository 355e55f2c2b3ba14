// Joins an op with its variants. An op is a tag type with a nested `Signature` (a plain function
// type); each variant is a function registered for one ISA. A missing variant falls back to the
// nearest lower ISA, and has_variant() says whether one is the op's own.
//
// The registry is an object handed around by reference, never a global: a plugin library receives
// the same one.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backend/isa.h"
#include "core/error.h"

namespace foresight {

class KernelRegistry {
 public:
  // Called from objects compiled for one ISA: always inline, so that no copy of it is shared.
  template <typename Op>
  [[gnu::always_inline]] void add(Isa isa, typename Op::Signature* function) {
    set(Op::kName, isa, reinterpret_cast<AnyFunction>(function));
  }

  // The variant for `isa`, or for the nearest lower one. Throws InternalError when there is none.
  template <typename Op>
  typename Op::Signature* get(Isa isa) const {
    return reinterpret_cast<typename Op::Signature*>(find(Op::kName, isa));
  }

  bool has_variant(std::string_view op, Isa isa) const;
  // Ascending.
  std::vector<std::string> op_names() const;

 private:
  using AnyFunction = void (*)();
  void set(const char* op, Isa isa, AnyFunction function);
  AnyFunction find(std::string_view op, Isa isa) const;
  std::unordered_map<std::string_view, std::array<AnyFunction, kNumIsas>> variants_;
};

}  // namespace foresight
