"""What each feature added to a model's answer: exact for trees and linear models, in numpy alone."""
