# mutants.cmake - the crash simulator once more for each fault that it must find: fuzz/mutants/NAME.txt.
#
#   number and sentence                  what is wrong
#   == pagestore/FILE.c                  the library file to change; again for a second change in the same file
#   text                                 must be in the file exactly once
#   ==
#   text                                 what is there instead; may be empty
#
#   == LMDB                              or: which of LMDB's calls go to fuzz/mutants/lmdb.c
#   call
#
# build/fuzz/mutants/crashsim-NAME is fuzz/crashsim linked with the changed file before the library's archive, which is then not asked for
# its own. Assertions are off in the changed file: it is the simulator that is to find the fault. This file is also the script that changes
# (cmake -DMUTANT=... -DSOURCE=... -DOUT=... -P); where a text is not there exactly once the build fails.
cmake_minimum_required(VERSION 3.25)

# A mutant's text from the first "== " on, cut at the lines that begin with "==": their rests and the texts between them.
function(mutant_parts file heads_out texts_out)
  file(READ ${file} text)
  string(REPLACE ";" "<semicolon>" text "${text}")
  string(REPLACE "[" "<bracket>" text "${text}")
  string(REPLACE "]" "<bracket-end>" text "${text}")
  string(REPLACE "\\" "<backslash>" text "${text}")
  string(REPLACE "\n==" ";" parts "${text}")
  list(POP_FRONT parts)
  set(heads "")
  set(texts "")
  foreach(part IN LISTS parts)
    string(FIND "${part}" "\n" end)
    if(end LESS 0)
      set(end 0)
      set(part "${part}\n")
      string(FIND "${part}" "\n" end)
    endif()
    string(SUBSTRING "${part}" 0 ${end} head)
    string(STRIP "${head}" head)
    math(EXPR end "${end} + 1")
    string(SUBSTRING "${part}" ${end} -1 body)
    string(REGEX REPLACE "\n$" "" body "${body}")
    list(APPEND heads "<${head}>")
    list(APPEND texts "<${body}>")
  endforeach()
  set(${heads_out} "${heads}" PARENT_SCOPE)
  set(${texts_out} "${texts}" PARENT_SCOPE)
endfunction()

function(mutant_plain out text)
  string(REGEX REPLACE "^<(.*)>$" "\\1" text "${text}")
  string(REPLACE "<backslash>" "\\" text "${text}")
  string(REPLACE "<bracket>" "[" text "${text}")
  string(REPLACE "<bracket-end>" "]" text "${text}")
  string(REPLACE "<semicolon>" ";" text "${text}")
  set(${out} "${text}" PARENT_SCOPE)
endfunction()

# ---- the script: OUT is SOURCE changed by MUTANT -----------------------------------------------------------------------------
if(CMAKE_SCRIPT_MODE_FILE)
  mutant_parts(${MUTANT} heads texts)
  file(READ ${SOURCE} source)
  list(LENGTH heads count)
  math(EXPR last "${count} - 1")
  foreach(i RANGE 0 ${last} 2)
    math(EXPR j "${i} + 1")
    list(GET texts ${i} text)
    mutant_plain(find "${text}")
    list(GET texts ${j} text)
    mutant_plain(replacement "${text}")
    string(FIND "${source}" "${find}" first)
    string(FIND "${source}" "${find}" end REVERSE)
    if(first LESS 0 OR NOT first EQUAL end)
      message(FATAL_ERROR "${MUTANT}: this text must be in ${SOURCE} exactly once:\n${find}")
    endif()
    string(REPLACE "${find}" "${replacement}" source "${source}")
  endforeach()
  file(WRITE ${OUT} "${source}")
  return()
endif()

# ---- the programs -------------------------------------------------------------------------------------------------------------

# LMDB's archive as one object, in which the functions named original_... are what is overridden at the link of some mutant.
function(mutant_lmdb_object)
  find_library(LMDB_ARCHIVE NAMES liblmdb.a)
  set(aliases "")
  foreach(function mdb_cursor_put mdb_env_close mdb_midl_need mdb_midl_xmerge mdb_midl_append_range)
    list(APPEND aliases --defsym=original_${function}=${function})
  endforeach()
  add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/fuzz/mutants/lmdb.o
    COMMAND ${CMAKE_LINKER} -r -o ${CMAKE_BINARY_DIR}/fuzz/mutants/lmdb.o ${aliases} --whole-archive ${LMDB_ARCHIVE}
    DEPENDS ${LMDB_ARCHIVE} VERBATIM COMMENT "Joining LMDB into one object")
  add_library(mutant_lmdb OBJECT fuzz/mutants/lmdb.c)
  target_include_directories(mutant_lmdb PRIVATE ${LMDB_INCLUDE_DIR})
endfunction()

# Calls of the system are renamed in an object of the mutant's own; functions of LMDB's are overridden by the linker.
function(mutant_of_lmdb name calls program)
  set(object ${CMAKE_BINARY_DIR}/fuzz/mutants/${name}.o)
  set(renames "")
  foreach(call ${calls})
    if(call MATCHES "^mdb_")
      target_link_options(${program} PRIVATE LINKER:--defsym=${call}=mutant_${call})
    else()
      list(APPEND renames --redefine-sym ${call}=mutant_${call})
    endif()
  endforeach()
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_OBJCOPY} ${renames} ${CMAKE_BINARY_DIR}/fuzz/mutants/lmdb.o ${object}
    DEPENDS ${CMAKE_BINARY_DIR}/fuzz/mutants/lmdb.o fuzz/mutants/${name}.txt VERBATIM COMMENT "Mutating LMDB: ${name}")
  set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  target_sources(${program} PRIVATE ${object} $<TARGET_OBJECTS:mutant_lmdb>)
endfunction()

function(mutant_of_library name source program)
  get_filename_component(file ${source} NAME)
  set(mutated ${CMAKE_BINARY_DIR}/fuzz/mutants/${name}/${file})
  add_custom_command(OUTPUT ${mutated}
    COMMAND ${CMAKE_COMMAND} -DMUTANT=${CMAKE_SOURCE_DIR}/fuzz/mutants/${name}.txt -DSOURCE=${CMAKE_SOURCE_DIR}/${source}
      -DOUT=${mutated} -P ${CMAKE_SOURCE_DIR}/tools/packaging/mutants.cmake
    DEPENDS fuzz/mutants/${name}.txt ${source} tools/packaging/mutants.cmake VERBATIM COMMENT "Mutating ${source}: ${name}")
  add_library(mutated_${name} OBJECT ${mutated})
  target_compile_options(mutated_${name} PRIVATE -UPAGESTORE_ASSERT -DPAGESTORE_ASSERT=0)
  target_include_directories(mutated_${name} PRIVATE
    ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/pagestore ${LMDB_INCLUDE_DIR})
  target_link_libraries(mutated_${name} PRIVATE PkgConfig::XXHASH Threads::Threads)
  target_sources(${program} PRIVATE $<TARGET_OBJECTS:mutated_${name}>)
endfunction()

# The program of fuzz/mutants/NAME.txt, made of the objects and with the link options of crashsim.
function(pagestore_mutant name)
  set(program mutant_${name})
  mutant_parts(fuzz/mutants/${name}.txt heads texts)
  list(GET heads 0 head)
  mutant_plain(target "${head}")
  list(GET texts 0 text)
  mutant_plain(calls "${text}")
  string(REPLACE "\n" ";" calls "${calls}")
  add_executable(${program} $<TARGET_OBJECTS:crashsim>)
  if(target STREQUAL LMDB)
    mutant_of_lmdb(${name} "${calls}" ${program})
  else()
    mutant_of_library(${name} ${target} ${program})
  endif()
  target_link_options(${program} PRIVATE $<TARGET_PROPERTY:crashsim,LINK_OPTIONS>)
  target_link_libraries(${program} PRIVATE $<TARGET_PROPERTY:crashsim,LINK_LIBRARIES>)
  set_target_properties(${program} PROPERTIES
    OUTPUT_NAME crashsim-${name} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz/mutants LINKER_LANGUAGE C)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS fuzz/mutants/${name}.txt)
endfunction()

# Sanitizers wrap the calls that are changed here: without them alone.
function(pagestore_mutants)
  if(sanitizer OR NOT TARGET crashsim)
    return()
  endif()
  file(GLOB mutants CONFIGURE_DEPENDS fuzz/mutants/*.txt)
  mutant_lmdb_object()
  foreach(mutant ${mutants})
    get_filename_component(name ${mutant} NAME_WE)
    pagestore_mutant(${name})
  endforeach()
endfunction()
