# Mean NDVI of all parcels by acquisition, with base R:
#   s4c markers export season.csv && Rscript base_r.R season.csv
# Unknown values are empty cells, which R reads as NA.
markers <- read.csv(commandArgs(trailingOnly = TRUE)[1], check.names = FALSE)
stopifnot(names(markers)[1] == "NewID", !is.unsorted(markers$NewID))
ndvi <- grep("^s2_ndvi_mean__", names(markers), value = TRUE)
for (column in ndvi) {
  cat(sprintf("%s,%.12g\n", column, mean(markers[[column]], na.rm = TRUE)))
}
