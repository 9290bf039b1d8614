# wasmtime.cmake - Wasmtime's C API, for the adapter's tests and the engine benchmark; never needed by the library.
#
# Looked for, as a release archive is laid out (include/wasmtime.h, lib/libwasmtime.so), in -DWASMTIME_ROOT, in build/wasmtime (what
# tests/fetch_wasmtime makes) and where the system has its libraries. Without it they are left out, and it says so.

find_path(WASMTIME_INCLUDE_DIR wasmtime.h
  HINTS ${WASMTIME_ROOT} $ENV{WASMTIME_ROOT} ${CMAKE_BINARY_DIR}/wasmtime ${CMAKE_SOURCE_DIR}/build/wasmtime PATH_SUFFIXES include)
find_library(WASMTIME_LIBRARY wasmtime
  HINTS ${WASMTIME_ROOT} $ENV{WASMTIME_ROOT} ${CMAKE_BINARY_DIR}/wasmtime ${CMAKE_SOURCE_DIR}/build/wasmtime PATH_SUFFIXES lib)
if(WASMTIME_INCLUDE_DIR AND WASMTIME_LIBRARY)
  set(PAGESTORE_HAS_WASMTIME TRUE)
  add_library(pagestore_wasmtime SHARED IMPORTED)
  set_target_properties(pagestore_wasmtime PROPERTIES
    IMPORTED_LOCATION ${WASMTIME_LIBRARY} IMPORTED_NO_SONAME TRUE
    INTERFACE_INCLUDE_DIRECTORIES ${WASMTIME_INCLUDE_DIR})
else()
  set(PAGESTORE_HAS_WASMTIME FALSE)
  message(STATUS "Wasmtime is missing (-DWASMTIME_ROOT=..., or tests/fetch_wasmtime): no tests of pagestore/wasmtime.h")
endif()

# tests/test_wasmtime*.c; not under sanitizers: the engine's code is not compiled with them.
function(pagestore_wasmtime_tests)
  file(GLOB sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/tests tests/test_wasmtime*.c)
  if(NOT PAGESTORE_HAS_WASMTIME OR NOT CMOCKA_LIBRARY)
    return()
  endif()
  foreach(source ${sources})
    string(REPLACE ".c" "" name ${source})
    pagestore_test(${name} LABELS plain LIBS pagestore_wasmtime TIMEOUT 300)
  endforeach()
  add_executable(wasmtime_example tests/wasmtime_example.c)
  target_link_libraries(wasmtime_example PRIVATE pagestore_core pagestore_wasmtime)
  # what tests/real_canisters.sh runs
  file(GLOB sources CONFIGURE_DEPENDS tests/real_canisters/*.c)
  add_executable(real_canisters ${sources})
  target_link_libraries(real_canisters PRIVATE pagestore_core pagestore_wasmtime)
  set_target_properties(wasmtime_example real_canisters PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
endfunction()
