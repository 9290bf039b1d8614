# programs.cmake - how programs and tests are found, built and registered.
#
#   tools/NAME/main.c, fuzz/NAME/main.c   a program build/tools/NAME, of every .c in that folder
#   fuzz/NAME.c                           a program build/fuzz/NAME
#   tests/test_NAME.c                     a cmocka program build/tests/test_NAME, registered
#   tests/support/*.c                     linked into all of these tests, the tests' own helpers
#   tests/NAME.sh                         registered where listed below
#
# Every registered test is also a line of build/tests/list, which tests/run reads:
#   name|kind (cmocka or script)|labels, by commas|timeout in seconds|command
# Labels: threads (also run under ThreadSanitizer), plain (not under sanitizers), long (only with --all).

set_property(GLOBAL PROPERTY pagestore_test_lines "")

function(pagestore_register name kind labels timeout)
  list(JOIN labels "," labels_text)
  list(JOIN ARGN " " command_text)
  set_property(GLOBAL APPEND PROPERTY pagestore_test_lines
    "${name}|${kind}|${labels_text}|${timeout}|${command_text}")
  add_test(NAME ${name} COMMAND ${ARGN})
  set_tests_properties(${name} PROPERTIES
    LABELS "${labels}" TIMEOUT ${timeout} SKIP_RETURN_CODE 77
    ENVIRONMENT "SOURCE=${CMAKE_SOURCE_DIR};BUILD=${CMAKE_BINARY_DIR};CC=${CMAKE_C_COMPILER}")
endfunction()

# pagestore_test(NAME [WRAP symbol...] [LABELS label...] [TIMEOUT seconds] [LIBS library...]): the program
# of tests/NAME.c. WRAP sends each call of the symbol from our objects to __wrap_symbol.
function(pagestore_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "WRAP;LABELS;LIBS")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_executable(${name} tests/${name}.c)
  target_link_libraries(${name} PRIVATE pagestore_core ${support_library} ${CMOCKA_LIBRARY} ${arg_LIBS})
  target_include_directories(${name} PRIVATE tests ${CMAKE_SOURCE_DIR})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  foreach(symbol ${arg_WRAP})
    target_link_options(${name} PRIVATE LINKER:--wrap=${symbol})
  endforeach()
  pagestore_register(${name} cmocka "${arg_LABELS}" ${arg_TIMEOUT} $<TARGET_FILE:${name}>)
endfunction()

function(pagestore_script name labels timeout)
  if(EXISTS ${CMAKE_SOURCE_DIR}/tests/${name}.sh)
    pagestore_register(${name} script "${labels}" ${timeout} ${CMAKE_SOURCE_DIR}/tests/${name}.sh)
  endif()
endfunction()

function(pagestore_tests)
  find_library(CMOCKA_LIBRARY cmocka)
  file(GLOB test_sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/tests tests/test_*.c)
  file(GLOB support_sources CONFIGURE_DEPENDS tests/support/*.c)
  if(NOT CMOCKA_LIBRARY)
    message(STATUS "cmocka is missing (apt-get install libcmocka-dev): no test programs")
    set(test_sources "")
    set(support_sources "")
  endif()
  if(support_sources)
    add_library(pagestore_test_support STATIC ${support_sources})
    target_link_libraries(pagestore_test_support PUBLIC pagestore_core)
    set(support_library pagestore_test_support)
  endif()
  foreach(source ${test_sources})
    string(REPLACE ".c" "" name ${source})
    file(STRINGS tests/${source} head LIMIT_COUNT 60 REGEX "^ \\* ctest: ")
    list(TRANSFORM head REPLACE "^ \\* ctest: " "")
    list(JOIN head " " head)
    separate_arguments(settings UNIX_COMMAND "${head}")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS tests/${source})
    file(STRINGS tests/${source} seccomp REGEX "^#include <seccomp.h>")
    if(seccomp)
      list(APPEND settings LIBS seccomp)
    endif()
    if(NOT "PROGRAM_OF_ITS_OWN" IN_LIST settings)
      pagestore_test(${name} ${settings})
    endif()
  endforeach()
  pagestore_demo_tests()
  pagestore_script(headers plain 120)
  pagestore_script(tidy plain 60)
  pagestore_script(stack_use plain 60)
  pagestore_script(install plain 300)
  get_property(lines GLOBAL PROPERTY pagestore_test_lines)
  list(JOIN lines "\n" text)
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/tests/list CONTENT "${text}\n")
endfunction()

# pagestore_program(tools/NAME | fuzz/NAME, its sources): build/tools/NAME or build/fuzz/NAME.
function(pagestore_program path)
  get_filename_component(folder ${path} DIRECTORY)
  get_filename_component(name ${path} NAME)
  add_executable(program_${name} ${ARGN})
  target_link_libraries(program_${name} PRIVATE pagestore_core)
  target_include_directories(program_${name} PRIVATE ${CMAKE_SOURCE_DIR}/${path})
  set_target_properties(program_${name} PROPERTIES
    OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/${folder})
endfunction()

function(pagestore_programs folder)
  file(GLOB mains CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} ${folder}/*/main.c)
  foreach(main ${mains})
    get_filename_component(path ${main} DIRECTORY)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${path}/*.c)
    pagestore_program(${path} ${sources})
  endforeach()
  if(folder STREQUAL fuzz)
    file(GLOB singles CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} fuzz/*.c)
    foreach(single ${singles})
      string(REPLACE ".c" "" path ${single})
      pagestore_program(${path} ${single})
    endforeach()
  endif()
endfunction()

include(${CMAKE_CURRENT_LIST_DIR}/wasm2c.cmake)
