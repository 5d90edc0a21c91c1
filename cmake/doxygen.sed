# What doxygen reads in the header's stead.

# The comment at the head becomes the first page. What stands three columns in is code there.
1c /// \\mainpage A pool for side work
2,3c ///
4,/^#ifndef/{
s,^//   -,/// -,
s,^//     ,///   ,
s,{ /\* \(.*\) \*/ },{}  // \1,
s,^//   ,///     ,
s,^//\( \|$\),///\1,
s,^/// \([A-Z][a-z]*\)$,/// **\1**\n///,
}

# The inline namespace that carries the version is for the linker.
/^inline namespace FANOUT_ABI {$/d
/^}.*namespace FANOUT_ABI$/d

# A specialisation in std is no name of this library.
/^template <> struct std::/d
