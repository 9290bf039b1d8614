# bench.cmake - tools/bench, whose benchmarks `pagestore bench NAME` executes by the names bench-NAME. The stores that it compares
# with are Debian packages (libsqlite3-dev, librocksdb-dev); one that is missing is left out.

function(pagestore_bench)
  if(NOT TARGET program_bench)
    return()
  endif()
  target_link_libraries(program_bench PRIVATE m)
  pkg_check_modules(BENCH_SQLITE QUIET IMPORTED_TARGET sqlite3)
  if(BENCH_SQLITE_FOUND)
    target_compile_definitions(program_bench PRIVATE BENCH_SQLITE)
    target_link_libraries(program_bench PRIVATE PkgConfig::BENCH_SQLITE)
  else()
    message(STATUS "libsqlite3-dev is missing: bench does not compare with SQLite")
  endif()
  pkg_check_modules(BENCH_ROCKSDB QUIET IMPORTED_TARGET rocksdb)
  if(BENCH_ROCKSDB_FOUND)
    target_compile_definitions(program_bench PRIVATE BENCH_ROCKSDB="${BENCH_ROCKSDB_VERSION}")
    target_link_libraries(program_bench PRIVATE -lrocksdb)  # its own flags drag in static ones
  else()
    message(STATUS "librocksdb-dev is missing: bench does not compare with RocksDB")
  endif()
  set(folder ${CMAKE_INSTALL_LIBEXECDIR}/pagestore)
  foreach(name track boundary commit restore views endurance many scale)
    set(link ${CMAKE_BINARY_DIR}/tools/bench-${name})
    add_custom_command(TARGET program_bench POST_BUILD VERBATIM
      COMMAND ${CMAKE_COMMAND} -E create_symlink bench ${link})
    install(FILES ${link} DESTINATION ${folder} COMPONENT benchmarks)
  endforeach()
  # In no Debian package: it needs the stores that it compares with.
  install(TARGETS program_bench RUNTIME DESTINATION ${folder} COMPONENT benchmarks)
endfunction()
