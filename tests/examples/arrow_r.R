# Mean NDVI of all parcels by acquisition, with R's arrow package:
#   Rscript arrow_r.R markers/mdb1/2018-05/<site>_<tile>.arrow
# NOT RUN by the tests of this project: the package 'arrow' is not in Debian. It needs install.packages("arrow").
library(arrow)

markers <- read_ipc_file(commandArgs(trailingOnly = TRUE)[1], as_data_frame = FALSE, mmap = TRUE)
ndvi <- grep("^s2_ndvi_mean__", names(markers), value = TRUE)
for (column in ndvi) {
  # Unknown values are NaN, which na.rm drops as well.
  cat(sprintf("%s,%.12g\n", column, mean(as.vector(markers[[column]]), na.rm = TRUE)))
}
