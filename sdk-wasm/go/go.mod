module connector-hub/guest

go 1.24
