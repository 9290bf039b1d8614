# wasm2c.cmake - from C or text to a Wasm module to C again; what the demo and the adapter's tests need.
#
# Never needed by the library: where clang, lld or wabt is missing, the demo and these tests are left out, and it says so.

find_program(WASM_CLANG NAMES clang clang-14 clang-15 clang-16 clang-17 clang-18 clang-19)
find_program(WASM_LD NAMES wasm-ld wasm-ld-14 wasm-ld-15 wasm-ld-16 wasm-ld-17 wasm-ld-18 wasm-ld-19)
find_program(WASM2C wasm2c)
find_program(WAT2WASM wat2wasm)
find_path(WASM_RT_INCLUDE_DIR wasm-rt.h)
if(WASM_CLANG AND WASM_LD AND WASM2C AND WAT2WASM AND WASM_RT_INCLUDE_DIR)
  set(PAGESTORE_HAS_WASM2C TRUE)
else()
  set(PAGESTORE_HAS_WASM2C FALSE)
  message(STATUS "wabt, clang or lld is missing (apt-get install wabt clang lld): no demo, no wasm2c tests")
endif()

set(WASM_OUT ${CMAKE_BINARY_DIR}/wasm)

# Generated code is others' style: our warnings are off for it.
function(wasm2c_translate name wasm)
  add_custom_command(OUTPUT ${WASM_OUT}/${name}.c ${WASM_OUT}/${name}.h
    COMMAND ${WASM2C} --enable-multi-memory -n ${name} -o ${WASM_OUT}/${name}.c ${wasm}
    DEPENDS ${wasm} VERBATIM COMMENT "wasm2c ${name}")
  set_source_files_properties(${WASM_OUT}/${name}.c PROPERTIES COMPILE_OPTIONS "-w")
endfunction()

# wasm2c_from_wat(NAME file.wat): build/wasm/NAME.c and .h, the module's C name being NAME.
function(wasm2c_from_wat name wat)
  add_custom_command(OUTPUT ${WASM_OUT}/${name}.wasm
    COMMAND ${CMAKE_COMMAND} -E make_directory ${WASM_OUT}
    COMMAND ${WAT2WASM} --enable-multi-memory -o ${WASM_OUT}/${name}.wasm ${wat}
    DEPENDS ${wat} VERBATIM)
  wasm2c_translate(${name} ${WASM_OUT}/${name}.wasm)
endfunction()

# wasm2c_from_c(NAME folder definitions...): a freestanding module of the folder's .c files, its memory imported as env.memory.
function(wasm2c_from_c name folder)
  list(TRANSFORM ARGN PREPEND -D OUTPUT_VARIABLE definitions)
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.c)
  file(GLOB headers CONFIGURE_DEPENDS ${folder}/*.h)
  add_custom_command(OUTPUT ${WASM_OUT}/${name}.wasm
    COMMAND ${CMAKE_COMMAND} -E make_directory ${WASM_OUT}
    COMMAND ${WASM_CLANG} --target=wasm32 -std=c11 -O2 -Wall -Wextra -Werror -ffreestanding -nostdlib
      -fuse-ld=${WASM_LD} -mbulk-memory -mmutable-globals ${definitions}
      -Wl,--no-entry -Wl,--import-memory -Wl,--export=__stack_pointer -Wl,-z,stack-size=65536
      -o ${WASM_OUT}/${name}.wasm ${sources}
    DEPENDS ${sources} ${headers} VERBATIM COMMENT "clang --target=wasm32 ${name}")
  wasm2c_translate(${name} ${WASM_OUT}/${name}.wasm)
endfunction()

# wasm2c_native(NAME module): what `pagestore wasm native` makes of build/wasm/module.wasm, and NAME_shim, whose C name is shim.
function(wasm2c_native name module)
  add_custom_command(OUTPUT ${WASM_OUT}/${name}.wasm ${WASM_OUT}/${name}_shim.wasm
    COMMAND program_pagestore wasm native ${WASM_OUT}/${module}.wasm -o ${WASM_OUT}/${name}.wasm
      --shim ${WASM_OUT}/${name}_shim.wasm --stable-bits 32 --copy loop
    DEPENDS ${WASM_OUT}/${module}.wasm program_pagestore VERBATIM COMMENT "pagestore wasm native ${module}")
  wasm2c_translate(${name} ${WASM_OUT}/${name}.wasm)
  add_custom_command(OUTPUT ${WASM_OUT}/${name}_shim.c ${WASM_OUT}/${name}_shim.h
    COMMAND ${WASM2C} --enable-multi-memory -n shim -o ${WASM_OUT}/${name}_shim.c ${WASM_OUT}/${name}_shim.wasm
    DEPENDS ${WASM_OUT}/${name}_shim.wasm VERBATIM COMMENT "wasm2c ${name}_shim")
  set_source_files_properties(${WASM_OUT}/${name}_shim.c PROPERTIES COMPILE_OPTIONS "-w")
endfunction()

# The demo: tools/demo-host, with both versions of the module linked in.
function(pagestore_demo)
  if(NOT PAGESTORE_HAS_WASM2C)
    return()
  endif()
  set(canister ${CMAKE_SOURCE_DIR}/tools/demo-canister)
  wasm2c_from_c(canister_v1 ${canister} CANISTER_VERSION=1)
  wasm2c_from_c(canister_v2 ${canister} CANISTER_VERSION=2)
  file(GLOB sources CONFIGURE_DEPENDS tools/demo-host/*.c)
  if(sources)
    pagestore_program(tools/demo-host ${sources} ${WASM_OUT}/canister_v1.c ${WASM_OUT}/canister_v2.c)
    target_include_directories(program_demo-host PRIVATE ${WASM_OUT} ${WASM_RT_INCLUDE_DIR})
    target_link_libraries(program_demo-host PRIVATE m)
  endif()
endfunction()

# tests/test_wasm2c.c and its module; tests/wasm2c_module.wat has what the canister has not.
function(pagestore_demo_tests)
  if(PAGESTORE_HAS_WASM2C AND CMOCKA_LIBRARY AND EXISTS ${CMAKE_SOURCE_DIR}/tests/test_wasm2c.c)
    wasm2c_from_wat(wasm2c_module ${CMAKE_SOURCE_DIR}/tests/wasm2c_module.wat)
    pagestore_test(test_wasm2c LABELS plain)
    target_sources(test_wasm2c PRIVATE ${WASM_OUT}/wasm2c_module.c)
    target_include_directories(test_wasm2c PRIVATE ${WASM_OUT} ${WASM_RT_INCLUDE_DIR})
    target_link_libraries(test_wasm2c PRIVATE m)
  endif()
endfunction()

# tests/test_wasm_native.c: both versions of tests/canisters/ledger, as they are and made native. tests/test_shim.c: the shim by
# itself, and tests/canisters/startup.wat made native.
function(pagestore_native_tests)
  if(NOT PAGESTORE_HAS_WASM2C OR NOT CMOCKA_LIBRARY OR NOT TARGET program_pagestore)
    return()
  endif()
  foreach(version 1 2)
    wasm2c_from_c(ledger_v${version} ${CMAKE_SOURCE_DIR}/tests/canisters/ledger LEDGER_VERSION=${version})
    wasm2c_native(ledger_native_v${version} ledger_v${version})
    list(APPEND sources ${WASM_OUT}/ledger_v${version}.c ${WASM_OUT}/ledger_native_v${version}.c)
  endforeach()
  pagestore_test(test_wasm_native LABELS plain)
  pagestore_test(test_shim LABELS plain)
  wasm2c_from_wat(startup ${CMAKE_SOURCE_DIR}/tests/canisters/startup.wat)
  wasm2c_native(startup_native startup)
  target_sources(test_shim PRIVATE ${WASM_OUT}/startup_native.c ${WASM_OUT}/startup_native_shim.c)
  target_sources(test_wasm_native PRIVATE ${sources} ${WASM_OUT}/ledger_native_v1_shim.c)
  foreach(test test_wasm_native test_shim)
    target_include_directories(${test} PRIVATE ${WASM_OUT} ${WASM_RT_INCLUDE_DIR})
    target_link_libraries(${test} PRIVATE m)
  endforeach()
endfunction()
