# bench_seed.cmake - tools/bench-seed, which `pagestore bench seed` executes: the canister of tools/bench-canister in three builds,
# run by wasm2c's translation and, where it is there, by Wasmtime. A program of its own, so that `pagestore` needs neither.

function(pagestore_bench_seed)
  find_program(WASM2WAT wasm2wat)
  if(NOT PAGESTORE_HAS_WASM2C OR NOT WASM2WAT)
    return()
  endif()
  set(canister ${CMAKE_SOURCE_DIR}/tools/bench-canister)
  set(program ${CMAKE_SOURCE_DIR}/tools/bench-seed)
  wasm2c_from_c(bench_plain ${canister})
  wasm2c_from_c(bench_calls ${canister} BENCH_CALLS)
  add_custom_command(OUTPUT ${WASM_OUT}/bench_direct.wasm
    COMMAND ${CMAKE_COMMAND} -E env WASM2WAT=${WASM2WAT} WAT2WASM=${WAT2WASM}
      ${program}/to_memory_1.sh ${WASM_OUT}/bench_plain.wasm ${WASM_OUT}/bench_direct.wasm
    DEPENDS ${program}/to_memory_1.sh ${WASM_OUT}/bench_plain.wasm VERBATIM COMMENT "bench_direct: all at memory 1")
  wasm2c_translate(bench_direct ${WASM_OUT}/bench_direct.wasm)
  set(sources ${program}/seed.c ${program}/report.c ${program}/engine_wasm2c.c
    ${WASM_OUT}/bench_plain.c ${WASM_OUT}/bench_calls.c ${WASM_OUT}/bench_direct.c)
  if(PAGESTORE_HAS_WASMTIME)
    list(APPEND sources ${program}/engine_wasmtime.c)
    set_source_files_properties(${program}/engine_wasmtime.c PROPERTIES OBJECT_DEPENDS
      "${WASM_OUT}/bench_plain.wasm;${WASM_OUT}/bench_calls.wasm;${WASM_OUT}/bench_direct.wasm"
      COMPILE_DEFINITIONS "BENCH_WASM=\"${WASM_OUT}\"")
  endif()
  pagestore_program(tools/bench-seed ${sources})
  target_include_directories(program_bench-seed PRIVATE ${WASM_OUT} ${WASM_RT_INCLUDE_DIR})
  target_link_libraries(program_bench-seed PRIVATE m)
  if(PAGESTORE_HAS_WASMTIME)
    target_link_libraries(program_bench-seed PRIVATE pagestore_wasmtime)
    target_compile_definitions(program_bench-seed PRIVATE BENCH_WASMTIME)
  endif()
endfunction()
