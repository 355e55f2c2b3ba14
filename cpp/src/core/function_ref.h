// A callable borrowed for the duration of a call: two words, no allocation, whatever it captures.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace foresight {

template <typename Signature>
class FunctionRef;

// Does not own what it refers to: only for parameters, never for members or return values.
template <typename Result, typename... Arguments>
class FunctionRef<Result(Arguments...)> {
 public:
  template <typename Callable>
  requires(!std::is_same_v<std::remove_cvref_t<Callable>, FunctionRef> &&
           std::is_invocable_r_v<Result, Callable&, Arguments...>)
      FunctionRef(
          Callable&& callable)  // NOLINT(google-explicit-constructor): it is a parameter type
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object, Arguments... arguments) -> Result {
          return (*static_cast<std::remove_reference_t<Callable>*>(object))(
              std::forward<Arguments>(arguments)...);
        }) {
    static_assert(std::is_object_v<std::remove_reference_t<Callable>>, "expected an object");
  }

  Result operator()(Arguments... arguments) const {
    return call_(object_, std::forward<Arguments>(arguments)...);
  }

 private:
  void* object_;
  Result (*call_)(void*, Arguments...);
};

}  // namespace foresight
