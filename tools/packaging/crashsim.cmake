# crashsim.cmake - the crash simulator fuzz/crashsim: the library and LMDB's archive, with every call that changes a file wrapped.

set(crashsim_wraps
  open open64 openat openat64 close write writev pwrite pwrite64 pwritev pwritev64 pwritev2 fdatasync fsync sync_file_range syncfs sync
  msync mmap mmap64 ftruncate ftruncate64 truncate fallocate fallocate64 posix_fallocate creat rename renameat renameat2 unlink unlinkat
  rmdir mkdir mkdirat link linkat symlink sendfile copy_file_range splice)

# What the probes stop or make fail, see fuzz/crashsim/probes_gate.c; free for heap.c.
set(crashsim_gates mdb_txn_commit mdb_txn_renew malloc calloc realloc free)

# pagestore_crashsim(TARGET OUTPUT LIBRARY [own source...]): a simulator build/fuzz/OUTPUT around this library; the sources are those of
# fuzz/crashsim unless others are given.
function(pagestore_crashsim target output library)
  set(sources ${ARGN})
  if(NOT sources)
    file(GLOB sources CONFIGURE_DEPENDS fuzz/crashsim/*.c)
  endif()
  add_executable(${target} ${sources} tests/support/model.c)
  target_link_libraries(${target} PRIVATE ${library} -l:liblmdb.a)
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/fuzz/crashsim)
  foreach(symbol ${crashsim_wraps} ${crashsim_gates})
    target_link_options(${target} PRIVATE LINKER:--wrap=${symbol})
  endforeach()
  set_target_properties(${target} PROPERTIES OUTPUT_NAME ${output} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
endfunction()
