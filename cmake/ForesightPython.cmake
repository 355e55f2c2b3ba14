# The extension module foresight._core.

find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
if(NOT DEFINED SKBUILD AND NOT pybind11_DIR)
  # scikit-build-core finds pybind11 by itself; a plain cmake run asks the interpreter.
  execute_process(COMMAND "${Python_EXECUTABLE}" -m pybind11 --cmakedir
                  OUTPUT_VARIABLE pybind11_DIR OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
find_package(pybind11 3.0 CONFIG REQUIRED)

file(GLOB binding_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/cpp/bindings/*.cc")
# NO_EXTRAS: no link-time optimisation; scikit-build-core strips the installed file.
pybind11_add_module(_core MODULE NO_EXTRAS ${binding_sources})
target_compile_definitions(_core PRIVATE FORESIGHT_VERSION="${FORESIGHT_VERSION}")
target_include_directories(_core PRIVATE "${PROJECT_SOURCE_DIR}/cpp")
# The whole archive, so that its objects come in archive order: the baseline code first, the kernels
# for newer processors last (tests/baseline_symbols.py says why that matters).
target_link_libraries(_core PRIVATE "$<LINK_LIBRARY:WHOLE_ARCHIVE,foresight_core>" foresight_options)
install(TARGETS _core LIBRARY DESTINATION foresight)
