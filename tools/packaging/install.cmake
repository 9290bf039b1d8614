# install.cmake - what `cmake --install` puts where, and the Debian packages that `cpack` makes of it.
#
#   component     package            what
#   library       libpagestore0      the shared library
#   development   libpagestore-dev   headers, static library, pkg-config and CMake packages, pagestore(3)
#   tools         pagestore-tools    the program, its manual pages, completion
#
# Manual pages need scdoc, packages cpack (it comes with CMake); without scdoc there are no pages.
include(CMakePackageConfigHelpers)

# ---- library and development ----------------------------------------------------------------------------------------

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/pagestore)
configure_file(tools/packaging/pagestore.pc.in pagestore.pc @ONLY)
configure_package_config_file(tools/packaging/pagestoreConfig.cmake.in pagestoreConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(pagestoreConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(TARGETS pagestore_shared pagestore_static EXPORT pagestoreTargets
  LIBRARY COMPONENT library NAMELINK_COMPONENT development
  ARCHIVE COMPONENT development)
install(EXPORT pagestoreTargets NAMESPACE pagestore:: DESTINATION ${package_dir} COMPONENT development)
install(FILES include/pagestore.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(DIRECTORY include/pagestore DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(FILES ${CMAKE_BINARY_DIR}/pagestore.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
install(FILES ${CMAKE_BINARY_DIR}/pagestoreConfig.cmake ${CMAKE_BINARY_DIR}/pagestoreConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT development)

# ---- manual pages ---------------------------------------------------------------------------------------------------

find_program(SCDOC scdoc)
find_program(GZIP gzip)

# pagestore_page(NAME.SECTION component command...): the command's output is the page's scdoc.
function(pagestore_page page component)
  string(REGEX MATCH "[0-9]$" section ${page})
  set(made ${CMAKE_BINARY_DIR}/manual/${page}.gz)
  add_custom_command(OUTPUT ${made}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/manual
    COMMAND ${ARGN} > ${made}.scd
    COMMAND ${SCDOC} < ${made}.scd > ${made}.roff
    COMMAND ${GZIP} -9n < ${made}.roff > ${made}
    DEPENDS ${pagestore_page_depends} COMMENT "Manual page ${page}")
  set_property(GLOBAL APPEND PROPERTY pagestore_pages ${made})
  install(FILES ${made} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT ${component})
endfunction()

if(SCDOC AND GZIP)
  file(GLOB pages CONFIGURE_DEPENDS tools/manual/*.scd)
  foreach(page ${pages})
    get_filename_component(name ${page} NAME_WLE)
    set(pagestore_page_depends ${page})
    string(REGEX REPLACE ".*\\.3$" "development" component ${name})
    if(NOT component STREQUAL development)
      set(component tools)
    endif()
    pagestore_page(${name} ${component} ${CMAKE_COMMAND} -E cat ${page})
  endforeach()
  if(TARGET program_pagestore)
    # A command's page comes from the table of commands, which the program knows; their names are read from the source here.
    file(STRINGS tools/pagestore/commands.c entries REGEX "^    {\"[a-z-]+\", \"[^\"]*\", *\"?")
    set(pagestore_page_depends program_pagestore)
    foreach(entry ${entries})
      string(REGEX MATCH "[a-z-]+" name ${entry})
      pagestore_page(pagestore-${name}.1 tools $<TARGET_FILE:program_pagestore> help --manual ${name})
    endforeach()
  endif()
  get_property(pages GLOBAL PROPERTY pagestore_pages)
  add_custom_target(manual ALL DEPENDS ${pages})
else()
  message(STATUS "scdoc is missing: no manual pages")
endif()

# ---- the program ----------------------------------------------------------------------------------------------------

if(TARGET program_pagestore)
  install(TARGETS program_pagestore RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
  foreach(pair bash=pagestore zsh=_pagestore)
    string(REPLACE "=" ";" pair ${pair})
    list(GET pair 0 shell)
    list(GET pair 1 name)
    set(made ${CMAKE_BINARY_DIR}/completion/${shell}/${name})
    add_custom_command(OUTPUT ${made}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/completion/${shell}
      COMMAND $<TARGET_FILE:program_pagestore> completion ${shell} > ${made}
      DEPENDS program_pagestore COMMENT "Completion for ${shell}")
    list(APPEND completions ${made})
  endforeach()
  add_custom_target(completion ALL DEPENDS ${completions})
  list(GET completions 0 bash_completion)
  list(GET completions 1 zsh_completion)
  install(FILES ${bash_completion} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT tools)
  install(FILES ${zsh_completion} DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions COMPONENT tools)
endif()

# ---- Debian packages ------------------------------------------------------------------------------------------------

set(library_package libpagestore0)
set(development_package libpagestore-dev)
set(tools_package pagestore-tools)
foreach(component library development tools)
  set(documents ${CMAKE_BINARY_DIR}/documents/${component})
  configure_file(tools/packaging/changelog.in ${documents}/changelog @ONLY)
  if(GZIP)
    execute_process(COMMAND ${GZIP} -9n INPUT_FILE ${documents}/changelog OUTPUT_FILE ${documents}/changelog.gz)
    install(FILES ${documents}/changelog.gz tools/packaging/copyright
      DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${${component}_package} COMPONENT ${component} EXCLUDE_FROM_ALL)
  endif()
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_CONTACT "pagestore maintainers <maintainers@pagestore.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL library development tools)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS OFF)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY "=")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME ${library_package})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
file(WRITE ${CMAKE_BINARY_DIR}/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA "${CMAKE_BINARY_DIR}/triggers")
set(CPACK_DEBIAN_LIBRARY_DESCRIPTION "durable WebAssembly memories over LMDB (shared library)
 A host shows the memories of a WebAssembly module to its engine as plain
 address ranges; at the end of each message what was written becomes durable
 in one transaction. Snapshots, forks and views cost the same whatever the size.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME ${development_package})
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${library_package} (= ${PROJECT_VERSION}), liblmdb-dev, libxxhash-dev")
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION "durable WebAssembly memories over LMDB (development)
 Headers, static library, pkg-config and CMake packages of pagestore, with
 header-only adapters for WebAssembly engines.")
set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME ${tools_package})
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_TOOLS_DESCRIPTION "durable WebAssembly memories over LMDB (program)
 The pagestore program looks into stores of durable WebAssembly memories, also
 while a runtime writes them; it copies, checks, sends, restores and prunes.")
include(CPack)
