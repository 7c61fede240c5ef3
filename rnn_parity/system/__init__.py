"""The ground floor: versions, limits of sizes, safe reading and writing, threads, progress."""
